"""What ends in the middle of something else: clients, sessions, slots, the daemon itself."""
import contextlib
import hashlib
import os
import random
import socket
import time

import pytest

from browser import BINARY, GREETING, Browser, Refused, Sparse, WebSocket, frame
from conftest import SANITIZED, wait_for
from liar import Liar, stall
from test_web_browser import Hold, Reader, ready, some
from test_web_uploads import IMAGE, listed, offset, path, put, wait_piece_end
from website import AnswerReader, Events, Web, accounts, new_site, passwd, shared_site, site  # noqa: F401 (fixtures)


OPERATOR = {"Authorization": "Basic b3BlcmF0b3I6YmF0dGVyeSBzdGFwbGU="}


@pytest.fixture(scope="module")
def shared(accounts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uploads") / "store"
    yield from shared_site(accounts, keys={"upload-directory": folder, "web-connections": "200", "web-connections-each": "200"},
                           slots={"slot0": {"reconnect-grace": "0s"}, "slot1": {"media": "disk"}})


def fds(site):
    return len(os.listdir(f"/proc/{site.daemon.process.pid}/fd"))


# --- clients ---


@pytest.mark.plain
def test_clients_that_go_in_the_middle_of_any_request(site):
    web = site.web("admin")
    liar = Liar(bytes(100_000))
    liar.behaviour = stall
    insert = b'{"url":"%s"}' % liar.url().encode()
    requests = [
        web.text("GET", "/"), web.text("GET", "/api/slots"), web.text("GET", "/api/events"), web.text("GET", "/api/uploads"),
        web.text("POST", "/api/session", body=b'{"user":"admin","password":"correct horse"}', cookies=False),
        web.text("GET", "/api/slots", {"Authorization": "Basic YWRtaW46Y29ycmVjdCBob3JzZQ=="}, cookies=False),
        web.text("POST", "/api/slots/slot0/insert", body=insert), web.text("POST", "/api/slots/slot0/eject", body=b"{}"),
        web.text("POST", "/api/slots/slot0/ticket", body=b"{}"), web.text("PUT", path("cut.iso"), body=IMAGE[:200_000]),
        web.text("DELETE", path("cut.iso")), web.text("HEAD", path("cut.iso")),
        web.text("GET", "/nbd/0", {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                                   "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol": web.csrf,
                                   "Origin": web.origin}) + frame(BINARY, GREETING),
    ]
    before = fds(site)
    for round_number in range(2 if SANITIZED else 6):
        for text in requests:
            for size in (len(text) // 2, len(text) - 1, len(text)):
                wire = web.connect()
                try:
                    wire.sendall(text[:size])
                except OSError:
                    pass  # the slot was busy: answered before all of it was sent
                wire.cut(reset=round_number % 2)
    liar.stop()
    assert web.eject("slot0").status == 200
    wait_for(lambda: fds(site) <= before + 1, "the descriptors to be closed")
    wait_for(lambda: web.ask("DELETE", path("cut.iso")).status in (204, 404), "the upload's end")
    assert web.get("/api/slots").status == 200


def connect_when_it_accepts(web):
    """We are quicker than it at times: its queue of connections is full."""
    while True:
        try:
            return web.connect()
        except BlockingIOError:
            time.sleep(0.01)


CUTS = int(os.environ.get("CUTS", "100" if SANITIZED else "50"))  # of each request; by hand 1000


def time_of_answer(web, text):
    """Seconds; a connection that is one too many, since those before have not all been missed yet, is tried again."""
    def ask():
        with connect_when_it_accepts(web) as wire:
            began = time.perf_counter()
            try:
                wire.sendall(text)
                return wire.recv(1) and time.perf_counter() - began
            except (ConnectionResetError, BrokenPipeError):
                return None

    return wait_for(ask, "an answer")


def test_clients_that_go_in_the_moment_of_the_answer(new_site, folder):
    """Every request that is answered later, its client gone at a random microsecond round the answer."""
    site = new_site(keys={"upload-directory": folder / "store", "listen-plain": f"unix:{folder}/web.sock"})
    liar = Liar(bytes(100_000))
    login = site.web().post("/redfish/v1/SessionService/Sessions", {"UserName": "admin", "Password": "correct horse"})
    web, token = Web(folder / "web.sock", None), {"X-Auth-Token": login.get("X-Auth-Token")}
    url, slot = liar.url(), "/redfish/v1/Managers/bmc/VirtualMedia/Slot_0/Actions/VirtualMedia"
    sent = [
        ("GET", "/api/uploads", b""), ("HEAD", "/api/uploads", b""), ("HEAD", path("a.iso"), b""),
        ("PUT", path("a.iso"), IMAGE[:5000]), ("DELETE", path("a.iso"), b""),
        ("POST", "/api/slots/slot0/insert", b'{"url":"%s"}' % url.encode()), ("POST", "/api/slots/slot0/eject", b"{}"),
        ("POST", f"{slot}.InsertMedia", b'{"Image":"%s"}' % url.encode()), ("POST", f"{slot}.EjectMedia", b"{}"),
        ("PATCH", "/redfish/v1/AccountService/Accounts/reader", b'{"Enabled":true}'), ("GET", "/api/events", b""),
    ]
    for method, target, body in sent:
        text = web.text(method, target, {**token, "Content-Type": "application/json"}, body)
        usual = sorted(time_of_answer(web, text) for _ in range(5))[2]
        for _ in range(CUTS):
            with connect_when_it_accepts(web) as wire, contextlib.suppress(ConnectionError):
                wire.sendall(text)
                until = time.perf_counter() + random.uniform(0, 2 * usual)
                while time.perf_counter() < until:
                    pass
    assert web.get("/api/slots", headers=token).status == 200
    liar.stop()


# --- sessions ---


def test_a_request_that_was_begun_is_not_done_for_a_session_that_ended(site):
    web = site.web("operator")
    body = b'{"url":"https://127.0.0.1:1/x"}'
    for what, body in (("insert", body), ("eject", b"{}"), ("ticket", b"{}")):
        web.login("operator")
        text = web.text("POST", f"/api/slots/slot0/{what}", body=body)
        with web.connect() as wire:
            wire.sendall(text[:-1])
            assert web.get("/api/slots").status == 200
            count = site.daemon.log().count(f"audit: {what}")
            web.logout()
            try:
                wire.sendall(text[-1:])
            except OSError:
                pass
            assert AnswerReader(wire).next().status == 401
        assert site.daemon.log().count(f"audit: {what}") == count


def test_nor_for_an_account_that_is_disabled(new_site):
    site = new_site()
    web = site.web()
    assert web.get("/api/slots", headers=OPERATOR).status == 200
    text = web.text("POST", "/api/slots/slot0/eject", OPERATOR, body=b"{}")
    with web.connect() as wire:
        wire.sendall(text[:-1])
        passwd(site.users, "--disable", "operator")
        wait_for(lambda: web.get("/api/slots", headers=OPERATOR).status == 401, "the change to be seen", 10)
        wire.sendall(text[-1:])
        assert AnswerReader(wire).next().status == 401
    assert "audit: eject" not in site.daemon.log()


def test_an_upload_ends_with_its_session(site):
    web, other = site.web("operator"), site.web("admin")
    wire = web.connect()
    wire.sendall(web.text("PUT", path("disk.iso"), {"Content-Length": str(len(IMAGE))}) + IMAGE[:500_000])
    wait_for(lambda: (offset(other, "disk.iso") or 0) > 0, "a part to be stored")
    web.logout()
    assert AnswerReader(wire).next().status == 401
    wire.cut()
    wait_piece_end(other, "disk.iso")
    at = offset(other, "disk.iso")
    answer = put(other, "disk.iso", IMAGE[at:], at, len(IMAGE))
    assert answer.status == 201 and listed(other)["disk.iso"]["complete"]
    other.ok("DELETE", path("disk.iso"))


@pytest.mark.parametrize("change", [["--disable"], ["--delete"], ["--enable", "--role", "ReadOnly"], []],
                         ids=["disabled", "deleted", "role", "password"])
def test_what_came_with_a_password_ends_with_its_account(new_site, folder, change):
    """No session, that would end it: an upload and a stream of events."""
    site = new_site(keys={"upload-directory": folder / "store"})
    web, other = site.web(), site.web("admin")
    upload, events = web.connect(), web.connect()
    upload.sendall(web.text("PUT", path("disk.iso"), {**OPERATOR, "Content-Length": str(len(IMAGE))}) + IMAGE[:500_000])
    events.sendall(web.text("GET", "/api/events", {**OPERATOR, "Connection": "keep-alive"}))
    reader = AnswerReader(events)
    assert reader.head().status == 200
    wait_for(lambda: (offset(other, "disk.iso") or 0) > 0, "a part to be stored")
    start = time.monotonic()
    passwd(site.users, *change, "operator", given="new password\n")
    assert AnswerReader(upload).next().status == 401
    while size := int(reader.line(), 16):  # to the end of the stream
        reader.take(size + 2)
    assert time.monotonic() - start < 5
    for wire in (upload, events):
        wire.cut()
    wait_piece_end(other, "disk.iso")
    assert 0 < offset(other, "disk.iso") < len(IMAGE)


def test_an_upload_whose_client_vanished_gives_way(site):
    """Without a word, as a network goes: its connection looks alive."""
    web = site.web("operator")
    vanished = web.connect()
    vanished.sendall(web.text("PUT", path("disk.iso"), {"Content-Length": str(len(IMAGE))}) + IMAGE[:500_000])
    wait_for(lambda: offset(web, "disk.iso") == 500_000, "a part to be stored")
    start = time.monotonic()

    def go_on():
        answer = put(web, "disk.iso", IMAGE[500_000:500_100], 500_000, len(IMAGE))
        assert answer.status == 200 or "already" in answer.error
        return answer.status == 200

    wait_for(go_on, "the other to give way")
    assert time.monotonic() - start < 15
    assert put(web, "disk.iso", IMAGE[500_100:], 500_100, len(IMAGE)).status == 201
    assert listed(web)["disk.iso"]["sha256"] == hashlib.sha256(IMAGE).hexdigest()
    assert AnswerReader(vanished).next().status == 409
    vanished.cut()
    web.ok("DELETE", path("disk.iso"))


# --- slots ---


def test_a_slot_that_a_reload_takes_away(new_site):
    site = new_site(slots={"slot0": {}, "slot1": {"media": "disk"}, "slot2": {}})
    web = site.web("admin")
    stays, goes, changes = (ready(site, Browser(web, some(5000), f"slot{i}")) for i in range(3))
    site.slots.pop("slot1")
    site.slots["slot2"] = {"media": "disk"}
    assert site.reload()[-1].startswith("ok")
    assert goes.wait_end() == 1001 and changes.wait_end() in (1000, 1001)
    assert set(web.slots()) == {"slot0", "slot2"} and stays.code is None
    with pytest.raises(Refused) as caught:
        Browser(web, some(5000), "slot1", flavour="webui-vue")
    assert caught.value.answer.status == 404
    wait_for(lambda: web.slot("slot2")["state"] == "empty" and web.slot("slot2")["media"] == "disk", "the new slot2")
    ready(site, Browser(web, some(5000), "slot2"))


def test_an_eject_while_a_browser_is_checked(site):
    web = site.web("admin")
    browser = ready(site, Browser(web, Sparse(64 << 20), "slot1"))
    reader = Reader(site.uri("slot1"), 5000, 0)
    assert len(reader.result()) == 5000
    browser.cut()
    wait_for(lambda: web.slot("slot1")["state"] == "waiting", "the loss to be seen")
    hold = Hold()
    again = Browser(web, browser.image, "slot1", on_request=hold)
    hold.wait()
    with pytest.raises(Refused) as caught:
        Browser(web, browser.image, "slot1")  # there is one
    assert caught.value.answer.status == 409
    assert web.eject("slot1").status == 200
    assert again.wait_end() == 1000


# --- the daemon ---


def test_the_daemon_stops_in_the_middle_of_everything(new_site, folder):
    site = new_site(keys={"upload-directory": folder / "store", "listen-plain": f"unix:{folder}/web.sock"},
                    slots={f"slot{i}": {"reconnect-grace": "60s", "io-timeout": "60s"} for i in range(5)})
    web = site.web("admin")
    liar = Liar(bytes(100_000))
    liar.behaviour = stall
    held = [web.connect() for _ in range(8)]
    held[0].sendall(web.text("PUT", path("disk.iso"), {"Content-Length": str(len(IMAGE))}) + IMAGE[:100_000])
    held[1].sendall(web.text("POST", "/api/slots/slot0/insert", body=b'{"url":"%s"}' % liar.url().encode()))
    held[2].sendall(web.text("POST", "/api/slots/slot0/insert", {"Content-Length": "100"}) + b"{")
    held[3].sendall(b"GET / HTTP/1.1\r\n")
    held[4].sendall(web.text("GET", "/api/slots", {"Connection": "keep-alive"}))
    silent = socket.create_connection(site.address())
    events = Events(web)
    serving, lost, refused = (Browser(web, Sparse(64 << 20), f"slot{i}") for i in (1, 2, 3))
    mute = WebSocket(web, "/nbd/4", web.csrf)
    for browser in (serving, lost, refused):
        ready(site, browser)
    serving.on_request = lost.on_request = Hold()
    readers = [Reader(site.uri(f"slot{i}"), 5000, 40 << 20) for i in (1, 2)]
    wait_for(lambda: len(serving.on_request.held) >= 2, "the reads")
    lost.cut()
    wait_for(lambda: web.slot("slot2")["state"] == "waiting", "the loss to be seen")
    wrong = web.connect()
    wrong.sendall(web.text("POST", "/api/session", body=b'{"user":"admin","password":"wrong"}'))
    site.stop()
    assert serving.wait_end() == 1001 and refused.wait_end() == 1001
    assert all(isinstance(reader.result(), str) for reader in readers)
    for wire in [*held, mute.wire, wrong, events.wire]:
        wire.cut()
    silent.close()
    liar.stop()


def test_a_second_start_on_what_a_crash_left(new_site, folder):
    site = new_site(keys={"listen-plain": f"unix:{folder}/web.sock"})
    ready(site, Browser(site.web("admin"), some(5000)))
    site.daemon.kill()
    assert (folder / "web.sock").exists()
    site.pages.clear()
    site.daemon.__init__(site.folder, config=site.config())
    assert Web(folder / "web.sock", None).get("/api/slots").status == 401
    assert site.status()["state"] == "empty"
