"""What gets in by itself, and is tried until it is; and what is asked for twice."""
import threading

import nbd
import pytest

from conftest import Daemon, free_port, wait_for
from liar import Liar
from redfish_client import INSERT, Client, admin, own, service, users  # noqa: F401 (but Client they are fixtures)

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
