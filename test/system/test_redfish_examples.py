"""The examples of nbd-proxy-redfish(7) and of docs/redfish.md, as they are written there, with the programs they are for.

Only the values of the variables that all of them use are the test's own.
"""
import re
import shutil
import subprocess

import nbd
import pytest

import manual
from conftest import TOP, Daemon
from redfish_client import PASSWORDS, Client, arguments, port_of, users # the last is a fixture
from test_host import Hook

PAGE = "nbd-proxy-redfish.7"
EMPTY, FULL = "empty", "ready"
BOOTED = ["boot Cd Once", "reset ForceRestart"]


@pytest.fixture(scope="module")
def bmc(users, certificates, tmp_path_factory):
    """With a certificate that is checked, and a host."""
    folder = tmp_path_factory.mktemp("np")
    hook = Hook(folder)
    shutil.copy(users, folder / "users")
    d = Daemon(folder, *arguments(folder / "users", f"http.ca-file={certificates}/ca.pem",
                                  f"web.certificate={certificates}/good.pem", f"web.certificate-key={certificates}/good.key",
                                  hook.key))
    d.hook = hook
    yield d
    d.stop()


class Desk:
    """Where examples are typed in, one after the other, by somebody who has set the variables."""

    def __init__(self, folder, bmc, nginx, certificates):
        self.folder, self.bmc, self.image = folder, bmc, nginx.www / "image.iso"
        self.variables = {"BMC": f"127.0.0.1:{port_of(bmc)}", "BMC_USER": "operator", "BMC_PASSWORD": PASSWORDS["operator"],
                          "CA": f"{certificates}/ca.pem", "IMAGE": nginx.url("image.iso")}
        self.path = f"{folder}:/usr/bin:/bin" # Python's packages are those of the system
        (folder / "variables").touch()

    def type(self, block):
        script = f". ./variables\nset -aeuo pipefail\n{block}\nexport -p >variables\n"
        environment = {**self.variables, "PATH": self.path, "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(["bash", "-c", script], cwd=self.folder, env=environment, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=120)
        assert done.returncode == 0, (block, done.stdout, done.stderr)
        return done.stdout

    def type_all(self, blocks, states):
        """What each prints; in what state the slot is after each."""
        said = []
        for file, text in blocks:
            if file:
                (self.folder / file).write_text(text)
        for block, state in zip((text for file, text in blocks if not file), states, strict=True):
            said.append(self.type(block))
            self.check(state)
        return said

    def check(self, state):
        assert self.bmc.slot()["state"] == state
        if state == FULL:
            assert self.bmc.slot()["writable"] is False
            h = nbd.NBD()
            h.connect_uri(self.bmc.uri())
            data = b"".join(bytes(h.pread(min(1 << 20, h.get_size() - at), at)) for at in range(0, h.get_size(), 1 << 20))
            h.shutdown()
            assert data == self.image.read_bytes()


@pytest.fixture
def desk(tmp_path, bmc, nginx, certificates):
    yield Desk(tmp_path, bmc, nginx, certificates)
    bmc.ok("eject 0")
    assert PASSWORDS["operator"] not in bmc.log()


@pytest.fixture(scope="module")
def examples():
    return manual.examples(PAGE)


def names_set_in(block):
    return set(re.findall(r"(\w+)=", block))


def test_all_examples_are_here(desk, examples):
    assert set(examples) == {"", "curl", "Ansible", "Ironic and sushy", "redfishtool"}
    [(_, block)] = examples[""]
    assert names_set_in(block) == set(desk.variables)
    assert max(len(line) for blocks in examples.values() for _, text in blocks for line in text.splitlines()) < 70


def test_curl(desk, examples):
    said = desk.type_all(examples["curl"], [EMPTY, FULL, FULL, EMPTY, FULL, EMPTY, FULL, FULL, EMPTY])
    assert desk.bmc.hook.calls() == BOOTED
    assert '"UserName":"operator"' in said[0] and '"Inserted":true' in said[2]
    headers = (desk.folder / "headers.txt").read_text()
    place, token = re.search(r"^Location: (\S+)", headers, re.M)[1], re.search(r"^X-Auth-Token: (\S+)", headers, re.M)[1]
    assert Client(desk.bmc, "admin").get(place).status == 404
    assert Client(desk.bmc, token=token).get(place).status == 401 # the example has ended it


def recap(said):
    return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", said.rpartition("PLAY RECAP")[2])}


@pytest.mark.skipif(not shutil.which("ansible-playbook", path="/usr/bin"), reason="needs ansible")
def test_ansible(desk, examples):
    """Each playbook twice: the second time nothing is left to do."""
    desk.variables["ANSIBLE_NOCOLOR"] = "1"
    files, (insert, boot, eject) = examples["Ansible"][:3], examples["Ansible"][3:]
    said = desk.type_all([*files, insert, insert, boot, eject, eject], [FULL, FULL, FULL, EMPTY, EMPTY])
    assert [(recap(text)["changed"], recap(text)["failed"]) for text in said] == [(1, 0), (0, 0), (1, 0), (1, 0), (0, 0)]
    assert desk.bmc.hook.calls() == BOOTED


def stub(folder):
    """A baremetal that writes down what it is told; the real one talks to an Ironic."""
    program = folder / "baremetal"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >told\n')
    program.chmod(0o755)


def test_sushy(desk, examples):
    sushy = pytest.importorskip("sushy", reason="needs python3-sushy")
    stub(desk.folder)
    said = desk.type_all(examples["Ironic and sushy"], [EMPTY, FULL, FULL, EMPTY])
    assert desk.bmc.hook.calls() == BOOTED
    assert said[1] == "image.iso is in\n"
    told = (desk.folder / "told").read_text().splitlines()
    assert told[:4] == ["node", "create", "--driver", "redfish"]
    info = dict(value.split("=", 1) for option, value in zip(told, told[1:]) if option == "--driver-info")
    # What the driver makes of it.
    root = sushy.Sushy(info.pop("redfish_address"), username=info.pop("redfish_username"),
                       password=info.pop("redfish_password"), verify=info.pop("redfish_verify_ca"))
    assert root.get_system(info.pop("redfish_system_id")).managers and not info


@pytest.mark.skipif(not shutil.which("redfishtool"), reason="needs redfishtool")
def test_redfishtool(desk, examples):
    desk.type_all(examples["redfishtool"], [FULL, EMPTY])


def test_the_page_about_redfish(desk):
    pytest.importorskip("sushy", reason="needs python3-sushy")
    variables, *commands, program = manual.blocks(TOP / "docs" / "redfish.md")
    assert names_set_in(variables) == set(desk.variables)
    desk.type_all([*((None, block) for block in commands), ("page.py", program), (None, "python3 page.py")],
                  [FULL, EMPTY, FULL])
