"""A host boots, to a running kernel's own words, from a medium whose image is behind HTTPS and 50 ms away."""
import os
import pathlib
import secrets
import subprocess

import host
import pytest
from browser import Browser, Image
from conftest import TOP
from website import accounts, new_site  # noqa: F401 (fixtures)

RTT = "50ms"
RATE = "1gbit"
BOOT_SECONDS = 240  # a slow machine without KVM; a boot takes about ten

pytestmark = pytest.mark.skipif(bool(host.missing()), reason="not installed: " + " ".join(host.missing()))


@pytest.fixture(scope="session")
def kernel():
    folder = os.environ.get("NBD_PROXY_KERNEL") or TOP / "build" / "check" / "kernel"
    command = [TOP / "test" / "guest" / "fetch-kernel", folder]
    return pathlib.Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


@pytest.fixture(scope="session")
def payload(www, kernel):
    """The ISO on the web server, and what its payload says: new each time, so nothing else can have said it."""
    text = f"the payload runs: {secrets.token_hex(8)}"
    subprocess.run([TOP / "test" / "guest" / "make-iso", kernel, www / "boot.iso", text], check=True)
    return text


@pytest.fixture(scope="session")
def linkem(tmp_path_factory):
    program = tmp_path_factory.mktemp("linkem") / "linkem"
    subprocess.run(["cc", "-O2", "-std=gnu17", "-D_GNU_SOURCE", "-o", program, TOP / "bench" / "linkem.c"], check=True)
    return program


class Link:
    """The emulated link to a port of this machine. `carried` ends it: bytes that came down."""

    def __init__(self, linkem, port):
        self.process = subprocess.Popen([linkem, "--listen", "127.0.0.1:0", "--connect", f"127.0.0.1:{port}", "--rtt", RTT,
                                         "--rate", RATE], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def carried(self):
        self.process.terminate()
        words = self.process.communicate()[0].split()
        return int(words[words.index("down") + 1])


@pytest.fixture
def link(linkem, nginx):
    it = Link(linkem, nginx.port["https"])
    yield it
    it.process.kill()
    it.process.wait()


@pytest.fixture
def boot(tmp_path):
    """A function that starts a host; it is gone at the end."""
    hosts = []

    def start(*arguments):
        hosts.append(host.Host(tmp_path, *arguments))
        return hosts[-1]

    yield start
    for h in hosts:
        h.stop()


@pytest.mark.parametrize("firmware,device", [("bios", "cdrom"), ("bios", "usb"), ("uefi", "cdrom"), ("uefi", "usb")])
def test_a_host_boots_over_https_from_far_away(daemon, ca, www, kernel, payload, link, boot, firmware, device):
    d = daemon(ca)
    d.ok(f"insert 0 https://127.0.0.1:{link.port}/boot.iso")
    boot(firmware, device, d.uri()).wait_for(payload, BOOT_SECONDS)
    slot = d.slot()
    assert slot["state"] == "ready" and not slot["error"]
    # It came over the link: all of the kernel at least, and nothing over and over.
    vmlinuz = max(f.stat().st_size for f in (kernel / "boot").glob("vmlinuz-*"))
    assert vmlinuz < link.carried() < (www / "boot.iso").stat().st_size


def test_a_host_boots_from_a_file_in_a_browser(new_site, www, payload, boot):
    site = new_site()
    browser = Browser(site.web("admin"), Image((www / "boot.iso").read_bytes())).wait_serving()
    site.wait_state("slot0", "ready")
    boot("uefi", "cdrom", site.uri()).wait_for(payload, BOOT_SECONDS)
    assert browser.code is None and not browser.faults
