"""Everything at once, at random, for CHAOS_SECONDS from CHAOS_SEED (chaos.py): the daemon lives, gives no wrong byte, and is
afterwards what it was before: every door answers, and what was taken is given back."""
import os
import pathlib
import random
import re

import pytest

from browser import Browser, Image
from chaos import MANAGER, SESSIONS, Chaos, configuration
from chaos_peers import CONTENT, FILE, SERVED, SHOWN, STORED, Host, Origin
from conftest import SANITIZED, wait_for
from redfish_client import Client
from website import PASSWORDS, AnswerReader, Site, Web, Wire, accounts  # noqa: F401 (accounts is a fixture)

SECONDS = float(os.environ.get("CHAOS_SECONDS") or (30 if SANITIZED else 5))
ROOM = 16 << 20  # bytes of memory beside the cache: README, "What it promises"


class Changing(Site):
    """A daemon whose configuration is changed while others write theirs and it is read."""

    def __init__(self, place, accounts, files):
        self.files = files
        keys, slots, more = configuration(random, place, files, constant=True)
        super().__init__(place, accounts, keys, slots, more)

    def configure(self, keys, slots, more):
        self.keys.update(keys)
        self.slots, self.more = slots, more
        new = self.daemon.config.with_name("new")
        new.write_text(self.config())
        new.chmod(0o600)
        new.rename(self.daemon.config)

    def settle(self):
        """As it was at the start."""
        self.configure(*configuration(random, self.folder, self.files, constant=True))
        assert self.daemon.ask("reload")[-1].startswith("ok"), self.daemon.log()[-3000:]
    def descriptors(self):
        return len(os.listdir(f"/proc/{self.daemon.process.pid}/fd"))

    def memory(self):
        return int(re.search(r"VmRSS:\s*(\d+)", pathlib.Path(f"/proc/{self.daemon.process.pid}/status").read_text())[1]) << 10


@pytest.fixture
def site(folder, accounts):
    files = folder / "files"
    files.mkdir()
    (files / "file.img").write_bytes(CONTENT[FILE])
    site = Changing(folder / "site", accounts, files)
    try:
        yield site
        site.stop()
    finally:
        if site.daemon.process.poll() is None:
            site.daemon.process.kill()
            site.daemon.process.wait()
        print(site.daemon.log()[-20_000:])  # pytest shows it when the test has failed


# --- every door, as it should be ---


def whole(site, slot, size):
    """The host reads all of an image of this size."""
    with Wire(site.folder / f"{slot}.sock", None) as wire:
        host = Host(wire, structured=True)
        assert 0 <= host.size - size < 4096 and host.expected is not None
        piece = 400_000
        sent = {n: (0, n * piece, min(piece, host.size - n * piece)) for n in range(-(-host.size // piece))}
        asked = sum(length for _, _, length in sent.values())
        for cookie, (_, offset, length) in list(sent.items()):
            wire.sendall(host.request(0, cookie, offset, length))
        while sent:
            assert not host.answer(sent)
        return asked


class Doors:
    """A client of each, which expects what is right."""

    def __init__(self, site, origin):
        self.site, self.origin = site, origin
        self.client = Client(site.daemon, "admin", PASSWORDS["admin"])
        self.url = origin.url("good/one.iso")

    def clean(self):
        """Ends what the chaos left: media, sessions, uploads, certificates."""
        for member in self.client.get(SESSIONS).json["Members"]:
            self.client.delete(member["@odata.id"])
        for slot in self.site.slots:
            self.site.daemon.ok(f"eject {slot}")
        for upload in STORED:
            assert self.client.delete(f"/api/uploads/{upload}").status in (204, 404)
        for number in range(len(self.site.slots)):
            for member in self.client.get(f"{MANAGER}/Slot_{number}/Certificates").json["Members"]:
                assert self.client.delete(member["@odata.id"]).status == 204
            assert self.client.patch(f"{MANAGER}/Slot_{number}", {"EjectPolicy": "Persistent"}).status in (200, 204, 400)

    def answer(self):
        for way in (self.control, self.redfish, self.page, self.uploads, self.events, self.browser):
            way()
            self.site.wait_state("cd", "empty")

    def control(self):
        self.site.daemon.ok(f"insert cd {self.url}")
        whole(self.site, "cd", SERVED["one.iso"])
        self.site.daemon.ok("eject cd")

    def redfish(self):
        session = self.client.post(SESSIONS, {"UserName": "admin", "Password": PASSWORDS["admin"]})
        assert session.status == 201
        by_token = Client(self.site.daemon, token=session.headers["X-Auth-Token"])
        slot = f"{MANAGER}/Slot_0"
        assert by_token.post(f"{slot}/Actions/VirtualMedia.InsertMedia", {"Image": self.url}).status == 204
        whole(self.site, "cd", SERVED["one.iso"])
        assert by_token.post(f"{slot}/Actions/VirtualMedia.EjectMedia", {}).status == 204
        assert by_token.patch(slot, {"Image": self.origin.url("good/two.iso")}).status == 204
        whole(self.site, "cd", SERVED["two.iso"])
        assert by_token.patch(slot, {"Image": None}).status == 204
        assert by_token.delete(session.headers["Location"]).status == 204

    def page(self):
        for web in (self.site.web(), Web(self.site.address("http", 0), None), Web(self.site.folder / "web.sock", None)):
            web.login("operator")
            assert web.insert("cd", self.url).status == 200
            assert web.eject("cd").status == 200
            assert web.logout().status == 200

    def uploads(self):
        web = self.site.web().login("operator")
        for name, size in STORED.items():
            assert web.ask("PUT", f"/api/uploads/{name}", body=CONTENT[size]).status == 201
            assert web.insert("cd", f"upload:{name}").status == 200
            whole(self.site, "cd", size)
            assert web.eject("cd").status == 200
            assert web.ask("DELETE", f"/api/uploads/{name}").status == 204
        web.logout()

    def events(self):
        web = self.site.web().login("operator")
        for path, words in (("/api/events", b"event: slots"), ("/redfish/v1/EventService/SSE", b"MediaInserted")):
            with web.connect() as wire:
                wire.sendall(web.text("GET", path, {"Connection": None, **self.client.always}, cookies=False))
                assert AnswerReader(wire).head().status == 200
                assert web.insert("cd", self.url).status == 200
                assert web.eject("cd").status == 200
                text = b""
                while words not in text:
                    text += (part := wire.recv())
                    assert part, text
        web.logout()

    def browser(self):
        web = self.site.web().login("operator")
        for flavour in ("page", "jsnbd", "webui-vue"):
            browser = Browser(web, Image(CONTENT[SHOWN["disk.iso"]]), "cd", flavour, path="/nbd/cd").wait_serving()
            self.site.wait_state("cd", "ready")
            whole(self.site, "cd", SHOWN["disk.iso"])
            browser.stop()
            browser.wait_end()
            assert not browser.faults
            self.site.wait_state("cd", "empty")
        web.logout()


# --- the chaos ---

GIVEN = os.environ.get("CHAOS_SEED")


@pytest.mark.plain
@pytest.mark.parametrize("which", ["given"] if GIVEN else ["fixed", "random"])
def test_all_doors_at_once(site, certificates, which):
    seed = {"given": GIVEN, "fixed": "1", "random": str(random.SystemRandom().randrange(1 << 32))}[which]
    origin = Origin(seed)
    doors = Doors(site, origin)
    doors.answer()
    descriptors, memory = site.descriptors(), site.memory()
    chaos = Chaos(site, origin, site.files, (certificates / "ca.pem").read_text(), seed)
    try:
        chaos.ending.wait(SECONDS)
    finally:
        chaos.stop()
        print(f"CHAOS_SEED={seed}: {chaos.summary()}")
    assert site.daemon.process.poll() is None, site.daemon.log()[-20_000:]
    assert not chaos.faults, "\n".join(chaos.faults[:20])
    site.settle()
    doors.clean()
    doors.answer()
    wait_for(lambda: site.descriptors() <= descriptors + 2, "the descriptors to be closed")
    if not SANITIZED:  # whose memory says nothing of ours
        assert site.memory() < memory + ROOM
    origin.stop()
