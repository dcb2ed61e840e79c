"""What gets in by itself, and is tried until it is; and what is asked for twice."""
import threading

import nbd
import pytest

from conftest import Daemon, free_port, wait_for
from liar import Liar, stall
from redfish_client import EJECT, INSERT, Client, admin, own, service, users  # noqa: F401 (but Client they are fixtures)

IMAGE = bytes(range(256)) * 256


def read(d, slot="slot0"):
    h = nbd.NBD()
    h.connect_uri(d.uri(slot))
    data = h.pread(h.get_size(), 0)
    h.shutdown()
    return bytes(data)


@pytest.fixture
def late():
    """The address of a server that is not there yet, and what starts it."""
    port, started = free_port(), []

    def start(image=IMAGE):
        started.append(Liar(image, ("127.0.0.1", port)))
        return started[-1]

    start.url = f"http://127.0.0.1:{port}/image.iso"
    yield start
    for server in started:
        server.stop()


def awaited(d):
    return wait_for(lambda: d.slot()["awaited"] if d.slot()["state"] == "empty" else None, "the first try")


@pytest.mark.smoke
def test_a_configured_image_comes_in_once_its_server_is_there(daemon, late):
    d = daemon(f"slot.slot0.image={late.url}")
    what = awaited(d)
    assert what["image"] == late.url and what["tries"] >= 1
    assert "connect" in d.slot()["error"].lower()
    table = "\n".join(d.ok("status"))
    assert f"to insert {late.url}" in table
    late()
    wait_for(lambda: d.slot()["state"] == "ready", "the image")
    slot = d.slot()
    assert slot["awaited"] is None and slot["error"] is None and read(d) == IMAGE
    assert d.log().count("the configured image is not in yet") == 1


def test_an_eject_and_an_insert_end_the_tries(daemon, late, nginx, ca):
    d = daemon(ca, f"slot.slot0.image={late.url}", f"slot.slot1.image={late.url}")
    awaited(d)
    d.ok("eject 0")
    d.ok(f"insert 1 {nginx.url('image.iso')}")
    assert [s["awaited"] for s in d.status()["slots"]] == [None, None]
    server = late()
    with d.connect() as s:  # longer than the first pauses
        s.sendall(b"watch 0\n")
        for _ in range(4):
            assert b"slot0: empty" in s.recv(4096)
    assert not server.requests and d.slot(0)["state"] == "empty" and d.slot(1)["image_name"] == "image.iso"


def test_what_is_awaited_is_told_by_redfish(users, daemon, late):
    d = daemon(f"slot.slot0.image={late.url}", f"web.users-file={users}", "web.listen=127.0.0.1:0")
    awaited(d)
    client = Client(d, "admin")
    slot = client.slot()
    condition, = slot["Status"]["Conditions"]
    assert condition["MessageId"].endswith(".MediaAwaited") and not slot["Inserted"]
    late()
    wait_for(lambda: client.slot()["Inserted"], "the image")
    assert client.slot()["Status"]["Conditions"] == []


def test_a_medium_of_before_a_restart_is_awaited_after_its_grace_too(daemon, late):
    server = late()
    d = daemon()
    d.ok(f"insert 0 {late.url}")
    d.kill()
    server.stop()
    d.__init__(d.folder, "slot.slot0.restart-grace=1s")
    assert awaited(d)["image"] == late.url
    wait_for(lambda: d.slot()["awaited"] and d.slot()["awaited"]["next_try_ms"] > 500, "the end of the grace")
    late()
    wait_for(lambda: d.slot()["state"] == "ready", "the medium of before")
    assert read(d) == IMAGE


def test_another_image_in_its_place_after_the_restart_ends_the_tries(daemon, late):
    server = late()
    d = daemon()
    d.ok(f"insert 0 {late.url}")
    d.kill()
    server.stop()
    d.__init__(d.folder, "slot.slot0.restart-grace=1s")
    awaited(d)
    late(IMAGE + IMAGE)
    wait_for(lambda: d.slot()["awaited"] is None, "the end")
    assert "has changed" in d.slot()["error"] and d.slot()["state"] == "empty"


def test_the_same_insert_again_while_it_opens_is_no_error(service, daemon):
    """A client that lost patience asks once more: both are answered when the image is in; another image is refused."""
    server, go = Liar(IMAGE), threading.Event()

    def slow(request):
        go.wait(30)
        request.partial(IMAGE)

    server.behaviour = slow
    clients, answers = [Client(service, "operator") for _ in range(2)], [None, None]

    def insert(i):
        answers[i] = clients[i].post(INSERT, {"Image": server.url()})

    threads = [threading.Thread(target=insert, args=(i,)) for i in range(2)]
    threads[0].start()
    wait_for(lambda: server.requests, "the first")
    threads[1].start()
    assert Client(service, "operator").post(INSERT, {"Image": server.url("other.iso")}).ids == ["ResourceInUse"]
    go.set()
    for thread in threads:
        thread.join()
    server.stop()
    assert [answer.status for answer in answers] == [204, 204]
    assert clients[0].post(EJECT).status == 204


# --- what is no medium ---


def page(size=4096):
    return (b"\xef\xbb\xbf\n<!DOCTYPE html><title>Log in</title>" + b" " * size)[:size]


def disk(size=1 << 20):
    return bytes(510) + b"\x55\xaa" + bytes(size - 512)


DOUBTFUL = {"a page": (page(), "web page"), "a part": (disk()[:-1], "multiple of 512"), "zeroes": (bytes(1 << 20), "ISO 9660"),
            "a disk": (disk(), None)}


@pytest.mark.parametrize("what", DOUBTFUL)
def test_what_does_not_look_like_a_medium_is_inserted_with_a_warning(daemon, what):
    image, words = DOUBTFUL[what]
    server, d = Liar(image), daemon()
    lines = d.ok(f"insert 0 {server.url()}")
    server.stop()
    warnings = [line for line in lines if line.startswith("warning: slot0: ")]
    assert len(warnings) == (words is not None) and all(words in line for line in warnings)
    slot = d.slot()
    assert slot["state"] == "ready" and (slot["warning"] is None) == (words is None)
    d.ok("eject 0")
    assert d.slot()["warning"] is None


def test_a_page_in_place_of_an_image_is_said_by_redfish(service):
    client = Client(service, "operator")
    server = Liar(page())
    answer = client.post(INSERT, {"Image": server.url()})
    assert answer.status == 200
    for resource in (answer.json, client.slot()):
        message, = resource["@Message.ExtendedInfo"]
        assert message["MessageId"].endswith(".MediaDoubtful") and message["MessageSeverity"] == "Warning"
    assert client.slot()["Inserted"] and client.slot()["Status"]["Health"] == "OK"
    assert client.post(EJECT).status == 204
    assert "@Message.ExtendedInfo" not in client.slot()
    server.behaviour, server.image = server.honest, disk()
    assert client.post(INSERT, {"Image": server.url()}).status == 204
    server.stop()
    assert client.post(EJECT).status == 204


def test_an_insert_does_not_wait_long_for_the_look(daemon):
    """The server answers what is asked for at first, and nothing more."""
    server = Liar(bytes(1 << 18))
    server.behaviour = lambda request: stall(request) if len(server.requests) > 1 else server.honest(request)
    d = daemon()
    d.ok(f"insert 0 {server.url()}")
    assert d.slot()["state"] == "ready" and d.slot()["warning"] is None
    server.stop()
