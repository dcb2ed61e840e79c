"""Config media: files that were given become an ISO that others read, with what is known of the machine; and they stay secret."""
import base64
import json
import os
import re
import subprocess
import tarfile

import pytest

from bootable import run
from conftest import wait_for
from test_host import Hook
from test_security_secrets import memory_has

CANARY = "q7-canary-" + "r" * 24
SLOTS = "[slot cd]\nattach = socket\n[slot cfg]\nattach = socket\n"
NETWORK = {"address": "192.0.2.7", "netmask": "255.255.255.0", "gateway": "192.0.2.1", "interface": "eno1", "dns": "192.0.2.53"}


@pytest.fixture
def slots(daemon):
    def start(*arguments, config=SLOTS, **more):
        return daemon(*arguments, config=config, **more)
    return start


def word(name, value):
    """A word of a command line with blanks and quotes in it."""
    text = value if isinstance(value, str) else json.dumps(value)
    return '"' + f"{name}={text}".replace("\\", "\\\\").replace('"', '\\"') + '"'


def medium(d, place, slot="cfg"):
    path = place / f"{slot}.iso"
    path.unlink(missing_ok=True)
    run("nbdcopy", d.uri(slot), path)
    return path


def files(iso, tree="-R"):
    """{path: content}, as isoinfo reads them."""
    paths = run("isoinfo", tree, "-f", "-i", iso).decode(errors="replace").splitlines()
    read = {p: subprocess.run(["isoinfo", tree, "-i", iso, "-x", p], capture_output=True, check=False).stdout for p in paths}
    folders = {os.path.dirname(p) for p in paths}
    return {p.split(";")[0]: read[p] for p in paths if p not in folders}


def label(iso):
    return re.search(r"^Volume id: (.*)", run("isoinfo", "-d", "-i", iso).decode(), re.M)[1]


def check_accepted(iso):
    told = subprocess.run(["xorriso", "-abort_on", "WARNING", "-indev", iso, "-check_media", "--"], capture_output=True, text=True,
                          check=False)
    assert told.returncode == 0 and "Media region" in told.stdout, told.stderr


# --- what others read ---


@pytest.mark.parametrize("kind, given, wanted", (
    ("cidata", {"user-data": "#cloud-config\n"}, {"/user-data": b"#cloud-config\n", "/meta-data": b'{\n "instance-id": "cfg"\n}'}),
    ("config-2", {"user_data": "x", "openstack/content/0000": "y"},
     {"/openstack/latest/user_data": b"x", "/openstack/content/0000": b"y",
      "/openstack/latest/meta_data.json": b'{\n "uuid": "cfg"\n}'}),
    ("OEMDRV", {"ks.cfg": "text\n"}, {"/ks.cfg": b"text\n"}),
    ("ignition", {"config.ign": "{}", "combustion/script": "#!/bin/sh\n"},
     {"/ignition/config.ign": b"{}", "/combustion/script": b"#!/bin/sh\n"}),
    ("autounattend", {"autounattend.xml": "<unattend/>", "$WinPE/driver.inf": "d"},
     {"/autounattend.xml": b"<unattend/>", "/$WinPE/driver.inf": b"d"})))
def test_a_medium_of_each_kind(slots, tmp_path, kind, given, wanted):
    d = slots()
    (tmp_path / "site.json").write_text(json.dumps(given))
    assert "read-only" in d.ok(f"insert cfg config={tmp_path}/site.json config-kind={kind}")[-1]
    iso = medium(d, tmp_path)
    check_accepted(iso)
    assert files(iso, "-R") == files(iso, "-J") == wanted
    assert label(iso) == (kind.upper() if kind == "autounattend" else kind)


def test_many_files_and_other_names(slots, tmp_path):
    """Every reader sees the same names and bytes: Rock Ridge, Joliet, and libarchive, which goes by neither's path table."""
    given = {f"many/a-file-of-a-long-name-{i:02}.conf": f"{i}\n" * i for i in range(58)}
    given |= {"a/b/c/d/e/f/g/h": "deep", "Grüße.txt": "ü", "empty": "", "big": "0123456789abcdef" * 20000, "a.b.c": "dots"}
    binary = bytes(range(256)) * 9
    (tmp_path / "site.json").write_text(json.dumps({**given, "x.bin": {"base64": base64.b64encode(binary).decode()}}))
    d = slots()
    d.ok(f"insert cfg config={tmp_path}/site.json config-label=My-Label.1")
    iso = medium(d, tmp_path)
    check_accepted(iso)
    assert label(iso) == "My-Label.1"
    wanted = {"/" + name: content.encode() for name, content in given.items()} | {"/x.bin": binary}
    assert files(iso, "-R") == wanted
    joliet = files(iso, "-J") # isoinfo shows that tree's names in Latin-1
    assert {p for p in joliet if p.isascii()} >= {p for p in wanted if p.isascii()} and len(joliet) == len(wanted)
    out = tmp_path / "out"
    out.mkdir()
    run("bsdtar", "-C", out, "-xf", iso, env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert {"/" + str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()} == wanted
    modes = run("bsdtar", "-tvf", iso).decode().splitlines()
    assert all(line.startswith(("-r-------- ", "dr-x------ ")) for line in modes)


def test_the_same_files_are_the_same_bytes(slots, tmp_path):
    d = slots()
    line = f"insert cfg {word('config', {'user-data': 'x'})} config-kind=cidata"
    d.ok(line)
    first = medium(d, tmp_path).read_bytes()
    d.ok("eject cfg")
    d.ok(line)
    assert medium(d, tmp_path).read_bytes() == first


@pytest.mark.parametrize("form", ["v7", "ustar", "gnu", "posix", "python"])
def test_a_tar(slots, tmp_path, form):
    long = "" if form == "v7" else f"{'a' * 60}/{'b' * 60}"
    contents = {"user-data": b"#!/bin/sh\necho {slot} ${slot}\n", "scripts/x": bytes(1000), **({long: b"long"} if long else {})}
    for name, content in contents.items():
        (tmp_path / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / name).write_bytes(content)
    if form == "python":
        with tarfile.open(tmp_path / "site.tar", "w") as tar:
            tar.add(tmp_path / "site", ".")
    else:
        run("tar", f"--format={form}", "-C", tmp_path / "site", "-cf", tmp_path / "site.tar", ".")
    d = slots()
    d.ok(f"insert cfg config={tmp_path}/site.tar config-kind=cidata")
    read = files(medium(d, tmp_path))
    assert read.pop("/user-data") == b"#!/bin/sh\necho cfg ${slot}\n" and read.pop("/scripts/x") == bytes(1000)
    assert [content for path, content in read.items() if path != "/meta-data"] == [b"long"] * bool(long)


def test_from_a_server(slots, nginx, www, tmp_path):
    (www / "site.json").write_text('{"ks.cfg": "text\\n"}')
    d = slots(f"http.ca-file={nginx.tls}/ca.pem")
    d.ok(f"insert cfg config={nginx.url('site.json')}?token={CANARY} config-kind=OEMDRV")
    assert files(medium(d, tmp_path)) == {"/ks.cfg": b"text\n"}
    assert "404" in d.error(f"insert cd config={nginx.url('nothing.json')}")
    assert CANARY not in d.log() + str(d.status())


# --- what is known of the machine ---


def test_placeholders_come_from_the_insert_the_configuration_and_the_hook(slots, folder, tmp_path):
    hook = Hook(folder)
    hook.state("PowerState On\nSerialNumber of-the-hook\nUUID of-the-hook\nMACAddress of-the-hook\n")
    d = slots(hook.key, "host.uuid=of-the-config", "host.mac=of-the-config")
    d.ok("host status")
    d.ok(f"insert cfg {word('config', {'a': '{slot} {serial} {uuid} {mac}'})} mac=of-the-insert")
    assert files(medium(d, tmp_path)) == {"/a": b"cfg of-the-hook of-the-config of-the-insert"}


def test_a_placeholder_that_is_not_known_is_named(slots):
    d = slots()
    for name in ("serial", "uuid", "mac"):
        error = d.error(f"insert cfg {word('config', {'user-data': f'a {{{name}}}'})}")
        assert f"{{{name}}}" in error and "user-data" in error
    assert d.slot(1)["state"] == "empty"


def test_network_data_becomes_files(slots, tmp_path):
    d = slots()
    network, mac = word("network-data", {"prov": NETWORK}), "02:00:00:00:00:01"
    d.ok(f"insert cfg {word('config', {'user-data': ''})} config-kind=cidata {network} mac={mac}")
    made = json.loads(files(medium(d, tmp_path))["/network-config"])
    assert made["version"] == 2 and made["ethernets"]["eno1"]["addresses"] == ["192.0.2.7/24"]
    d.ok(f"insert cfg {word('config', {'user_data': ''})} config-kind=config-2 {network} mac={mac} replace")
    made = json.loads(files(medium(d, tmp_path))["/openstack/latest/network_data.json"])
    assert made["networks"][0]["ip_address"] == "192.0.2.7" and made["links"][0]["ethernet_mac_address"] == mac
    assert "give mac" in d.error(f"insert cfg {word('config', {'user_data': ''})} config-kind=config-2 {network} replace")


# --- what can't be ---


@pytest.mark.parametrize("given, options, why", (
    ({}, "", "no files"), ({"../x": ""}, "", "relative"), ({"a": 1}, "", "base64"), ({"a": ""}, "config-kind=floppy", "cidata"),
    ({"meta-data": ""}, "config-kind=cidata", "user-data"), ({"a": ""}, "config-label=" + "x" * 33, "label"),
    ({"a": ""}, "writable=yes", "not written to"), ({"a": ""}, "kernel-args=x", "boots nothing"),
    ({"a": ""}, word("network-data", NETWORK), "cidata or config-2"), ({"a": ""}, "network-kind=ip", "there is none"),
    ({"a": ""}, "dry-run", "made anew")))
def test_what_is_refused(slots, given, options, why):
    assert why in slots().error(f"insert cfg {word('config', given)} {options}")


def test_bounds(slots, tmp_path):
    d = slots()
    for given, why in (({"a": "x" * (1 << 20)}, None), ({"a": "x" * (1 << 20), "b": "y"}, "1048576"),
                       ({str(i): "" for i in range(64)}, None), ({str(i): "" for i in range(65)}, "64 files")):
        (tmp_path / "site.json").write_text(json.dumps(given))
        line = f"insert cfg config={tmp_path}/site.json replace"
        assert (why in d.error(line)) if why else d.ok(line)
    (tmp_path / "site.json").write_text(json.dumps({"a": "x"}) + " " * (2 << 20))
    assert "2 MiB" in d.error(f"insert cfg config={tmp_path}/site.json replace")
    assert "No such file" in d.error(f"insert cd config={tmp_path}/nothing")


def test_only_files_where_images_may_be(slots, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("in/site.json", "site.json"):
        (tmp_path / name).write_text('{"a": ""}')
    d = slots(f"daemon.file-directory={tmp_path}/in")
    d.ok(f"insert cfg config={tmp_path}/in/site.json")
    assert "file-directory" in d.error(f"insert cd config={tmp_path}/site.json")


# --- secrets, and what outlives the process ---


@pytest.mark.plain(only=True)  # a sanitizer keeps what was freed
def test_the_files_are_gone_from_memory_after_the_eject(slots, tmp_path):
    """They are read in pieces that others use later, and are longer than what is always overwritten."""
    (tmp_path / "site.json").write_text(json.dumps({"user-data": CANARY + "x" * 100000 + CANARY}))
    d = slots()
    for source in (f"config={tmp_path}/site.json", word("config", {"user-data": CANARY})):
        d.ok(f"insert cfg {source} config-kind=cidata")
        assert CANARY.encode() in medium(d, tmp_path).read_bytes()
        try:
            assert memory_has(d.process.pid, {CANARY.encode()}) # or this looks in the wrong place
        except PermissionError:
            pytest.skip("this system lets nobody look into a process")
        d.ok("eject cfg")
        wait_for(lambda: not memory_has(d.process.pid, {CANARY.encode()}), "the copies to be overwritten", 10)


def test_the_files_are_shown_nowhere(slots, tmp_path):
    d = slots("daemon.log-level=debug")
    d.ok("trace on")
    d.ok(f"insert cfg {word('config', {'user-data': CANARY})} config-kind=cidata")
    assert CANARY.encode() in medium(d, tmp_path).read_bytes()
    shown = "\n".join(line for command in ("status", "status --json", "stats", "report cfg", "help") for line in d.ask(command))
    wait_for(lambda: '"cfg"' in d.state(), "the state file")
    d.error(f"insert cd {word('config', {'user-data': CANARY, '..': ''})}")
    d.error(f"insert cd {word('config', ' {' + CANARY)}")
    assert CANARY not in shown + d.state() + d.log()


def test_a_restart_goes_on_with_files_that_can_be_read_again(slots, tmp_path):
    (tmp_path / "site.json").write_text('{"user-data": "{mac}"}')
    d = slots()
    d.ok(f"insert cfg config={tmp_path}/site.json config-kind=cidata mac=02:00:00:00:00:01")
    d.ok(f"insert cd {word('config', {'a': CANARY})}")
    first = medium(d, tmp_path).read_bytes()
    d.kill()
    again = type(d)(d.folder, config=SLOTS)
    try:
        wait_for(lambda: again.slot(1)["state"] == "ready", "the medium")
        assert medium(again, tmp_path).read_bytes() == first
        assert again.slot(0)["state"] == "empty" and "state-secrets" in again.log()
    finally:
        again.stop()


def test_secrets_may_be_in_the_state_file(slots, tmp_path):
    d = slots("daemon.state-secrets=yes")
    d.ok(f"insert cfg {word('config', {'a': CANARY})} config-label=x")
    d.kill()
    again = type(d)(d.folder, "daemon.state-secrets=yes", config=SLOTS)
    try:
        wait_for(lambda: again.slot(1)["state"] == "ready", "the medium")
        assert files(medium(again, tmp_path)) == {"/a": CANARY.encode()}
    finally:
        again.stop()


# --- the configuration ---


def test_the_configured_medium_waits_for_what_the_hook_tells(slots, folder, tmp_path):
    (tmp_path / "site.json").write_text('{"user-data": "{serial}"}')
    hook = Hook(folder)
    hook.state("PowerState On\nSerialNumber SN42\n")
    d = slots(hook.key, config=SLOTS + f"config = {tmp_path}/site.json\nconfig-kind = cidata\nnetwork-data = {json.dumps(NETWORK)}\n")
    wait_for(lambda: d.slot(1)["state"] == "ready", "the configured medium")
    read = files(medium(d, tmp_path))
    assert read["/user-data"] == b"SN42" and json.loads(read["/network-config"])["ethernets"]["eno1"]
