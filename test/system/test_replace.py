"""An image in place of the one that is in: the same one by a new address, or another."""
import random
import threading

import nbd
import pytest

from conftest import wait_for
from liar import Liar
from redfish_client import EJECT, INSERT, SLOT, Client, admin, own, service, users  # noqa: F401 (but constants fixtures)

IMAGE = random.Random(12).randbytes(12 << 20)


class Signed(Liar):
    """A server whose URLs expire: it answers what has the right token, else 403."""

    def __init__(self):
        super().__init__(IMAGE)
        self.token = "first"
        self.behaviour = self.check

    def check(self, request):
        if request.path.endswith(f"token={self.token}"):
            request.partial(self.image)
        else:
            request.answer(403)

    def signed(self):
        return self.url(f"image.iso?token={self.token}")


@pytest.fixture
def signed():
    server = Signed()
    yield server
    server.stop()


class Reader(threading.Thread):
    """A client of the slot that reads on and on, and compares each byte."""

    def __init__(self, d, step):
        super().__init__(daemon=True)
        self.h = nbd.NBD()
        self.h.connect_uri(d.uri())
        self.step, self.reads, self.stopping, self.failure = step, 0, False, None
        self.start()

    def run(self):
        offset = 0
        while not self.stopping:
            try:
                length = min(20000, len(IMAGE) - offset)
                assert bytes(self.h.pread(length, offset)) == IMAGE[offset : offset + length]
            except (nbd.Error, AssertionError) as error:
                self.failure = error
                return
            self.reads += 1
            offset = (offset + self.step) % len(IMAGE)

    def stop(self):
        self.stopping = True
        self.join(60)
        self.h.shutdown()
        assert self.failure is None
        return self.reads


@pytest.mark.smoke
def test_an_url_that_expires_is_renewed_beneath_a_host_that_reads(daemon, signed):
    d = daemon("daemon.cache-size=8M", "daemon.cache-slot-minimum=0")
    d.ok(f"insert 0 {signed.signed()}")
    readers = [Reader(d, step) for step in (20000, 65537, 1000003)]
    clients = d.slot()["clients"]["connections"]
    for token in ("second", "third"):
        before = [r.reads for r in readers]
        wait_for(lambda: all(r.reads > b + 5 for r, b in zip(readers, before)), "reads")
        signed.token = token
        answer = d.ok(f"insert 0 {signed.signed()} replace")[-1]
        assert answer.startswith("ok: slot0: goes on with the same image,"), answer
    assert all(r.stop() > 10 for r in readers)
    slot = d.slot()
    assert slot["state"] == "ready" and clients == 3 and slot["error"] is None
    assert "third" not in d.log() and slot["stats"]["requests"] > 0


def test_a_read_that_waits_has_its_data_once_the_url_is_renewed(daemon, signed):
    d = daemon()
    d.ok(f"insert 0 {signed.signed()}")
    signed.token = "second"
    reader = Reader(d, 20000)
    wait_for(lambda: "waits for a new URL or login" in (d.slot()["error"] or ""), "the trouble")
    d.ok(f"insert 0 {signed.signed()} replace")
    wait_for(lambda: reader.reads > 3, "the reads")
    reader.stop()


def test_another_image_takes_the_slot_only_if_it_can_be_read(daemon, signed, nginx, ca):
    d = daemon(ca)
    d.ok(f"insert 0 {signed.signed()}")
    assert "404" in d.error(f"insert 0 {nginx.url('nothing.iso')} replace")
    assert d.slot()["state"] == "ready" and d.slot()["image_name"] == "image.iso"
    assert "already has a medium" in d.error(f"insert 0 {nginx.url('other.iso')}")
    assert d.ok(f"insert 0 {nginx.url('other.iso')} replace")[-1] == "ok: slot0: inserted other.iso, 3000000 bytes, read-only"
    assert d.ok(f"insert 1 {nginx.url('other.iso')} replace")[-1] == "ok: slot1: inserted other.iso, 3000000 bytes, read-only"


def test_an_eject_ends_a_replacement(daemon, signed):
    d = daemon()
    d.ok(f"insert 0 {signed.signed()}")
    go = threading.Event()
    signed.behaviour = lambda request: go.wait(30)
    with d.connect() as s:
        s.sendall(f"insert 0 {signed.url('slow.iso')} replace\n".encode())
        wait_for(lambda: any("slow" in r.path for r in signed.requests), "the request")
        assert d.ok("eject 0")[-1] == "ok: slot0: empty"
        assert b"given up" in s.recv(4096)
    go.set()
    assert d.slot()["state"] == "empty"


def test_patch_renews_the_url_and_the_password(service, signed, nginx):
    client = Client(service, "operator")
    assert client.post(INSERT, {"Image": signed.signed()}).status == 204
    h = nbd.NBD()
    h.connect_uri(service.uri())
    signed.token = "second"
    assert client.patch(SLOT, {"Image": signed.signed()}).status == 204
    assert bytes(h.pread(4096, 1 << 20)) == IMAGE[1 << 20 : (1 << 20) + 4096]
    assert client.slot()["Image"] == signed.signed()
    assert client.patch(SLOT, {"Image": signed.url("image.iso?token=no")}).ids == ["ImageAccessDenied"]
    assert client.slot()["Image"] == signed.signed() and client.slot()["Inserted"]
    url = nginx.url("auth/image.iso", "http")
    assert client.patch(SLOT, {"Image": url, "UserName": "alice", "Password": "CANARY-PASSWORD"}).status == 204
    h.shutdown()
    assert client.slot()["Image"] == url and client.slot()["Inserted"]
    assert client.patch(SLOT, {"Password": "wrong"}).ids == ["ImageAccessDenied"]
    assert client.patch(SLOT, {"Password": "CANARY-PASSWORD"}).status == 204
    assert client.slot()["UserName"] == "alice" and client.slot()["Password"] is None
    assert "CANARY" not in service.log()
    assert client.post(EJECT).status == 204


def test_what_nothing_shows_to_be_the_same_is_another_image(daemon):
    """No validators: the size alone is no proof, unless it is the same place."""
    server = Liar(IMAGE)
    server.behaviour = lambda request: request.partial(IMAGE, etag=None)
    d = daemon()
    d.ok(f"insert 0 {server.url('a.iso?one')}")
    assert "same image" in d.ok(f"insert 0 {server.url('a.iso?two')} replace")[-1]
    assert "inserted b.iso" in d.ok(f"insert 0 {server.url('b.iso')} replace")[-1]
    server.stop()


def test_one_etag_for_two_images(daemon):
    """As nginx has it for two files of one second and one size: the validator is a version's of one URL."""
    server = Liar(IMAGE)
    other = IMAGE[::-1]
    server.behaviour = lambda request: request.partial(other if "other" in request.path else IMAGE, etag='"one"')
    d = daemon()
    d.ok(f"insert 0 {server.url('a.iso?token=1')}")
    assert "same image" in d.ok(f"insert 0 {server.url('a.iso?token=2')} replace")[-1]
    assert "inserted other.iso" in d.ok(f"insert 0 {server.url('other.iso')} replace")[-1]
    h = nbd.NBD()
    h.connect_uri(d.uri())
    assert bytes(h.pread(65536, 0)) == other[:65536]
    h.shutdown()
    server.stop()
