"""Attacks that other management controllers fell to, against the real daemon. Each test names what it is about."""
import os
import pathlib
import re
import socket
import ssl
import struct
import threading
import time

import pytest

from browser import BINARY, GREETING, Browser, Image, Refused, WebSocket, frame, upgrade_fields
from conftest import SANITIZED, TOP, binary, wait_for
from liar import Liar, stall
from test_nbd import handle
from website import (COOKIE, PASSWORDS, AnswerReader, Events, Web, accounts, new_site, passwd,  # noqa: F401 (fixtures)
                     no_answer, shared_site, tls_context)

SLOTS = {"slot0": {"reconnect-grace": "0s"}, "slot1": {"reconnect-grace": "60s", "media": "disk"}}


@pytest.fixture(scope="module")
def shared(accounts):
    yield from shared_site(accounts, slots=SLOTS, keys={"listen-plain": "127.0.0.1:0"})


@pytest.fixture
def site(shared):
    yield shared
    shared.reset()


def plain(site):
    return Web(site.address("http"), None)


def alive(site):
    """Nothing of an attack harms the next client."""
    assert site.web().get("/api/slots").status == 401


def fds(site):
    return len(os.listdir(f"/proc/{site.daemon.process.pid}/fd"))


def refused(web, *arguments, **more):
    with pytest.raises(Refused) as caught:
        WebSocket(web, *arguments, **more)
    return caught.value.answer.status


# --- who may ---

ANYONE = {None: True, "reader": True, "operator": True, "admin": True}
LOGIN = {None: False, "reader": True, "operator": True, "admin": True}
COMPONENTS = {None: False, "reader": False, "operator": True, "admin": True}
# (method, path) as in routes[] of router.c, and what is outside of it: who may, the path, the body.
EXPECTED = {
    ("GET", "/api/slots"): (LOGIN, "/api/slots", None),
    ("GET", "/api/slots/*/heat"): (LOGIN, "/api/slots/slot0/heat", None),
    ("POST", "/api/slots/*/insert"): (COMPONENTS, "/api/slots/slot0/insert", {}),
    ("POST", "/api/slots/*/eject"): (COMPONENTS, "/api/slots/slot0/eject", {}),
    ("POST", "/api/slots/*/ticket"): (COMPONENTS, "/api/slots/slot0/ticket", {}),
    ("GET", "/api/events"): (LOGIN, "/api/events", None),
    ("GET", "/api/uploads"): (LOGIN, "/api/uploads", None),
    ("HEAD", "/api/uploads/*"): (LOGIN, "/api/uploads/x", None),
    ("PUT", "/api/uploads/*"): (COMPONENTS, "/api/uploads/x", None),
    ("DELETE", "/api/uploads/*"): (COMPONENTS, "/api/uploads/x", None),
    ("GET", "/api/session"): (LOGIN, "/api/session", None),
    ("DELETE", "/api/session"): (LOGIN, "/api/session", None),
    ("GET", "/"): (ANYONE, "/", None),
}


def test_every_route_is_in_the_table_of_expectations():
    source = (TOP / "src/api/router.c").read_text()
    table = source[source.index("routes[] = {") : source.index("#define ROUTES")]
    rows = re.findall(r'\{(NULL|"\w+"), "([^"]+)", (\w+), (\w+)\}', table)
    assert len(rows) == table.count("{") - 1 and rows
    for method, path, privileges, _ in rows:
        if method != "NULL":
            who = EXPECTED[(method.strip('"'), path)][0]
            assert who is {"AUTH_LOGIN": LOGIN, "AUTH_CONFIGURE_COMPONENTS": COMPONENTS}[privileges], path
    methods = re.findall(r'\{"(\w+)", (true|false), (AUTH_\w+), \w+\}', (TOP / "src/api/uploads.c").read_text())
    assert methods
    for method, on_one, privileges in methods:
        key = (method, "/api/uploads/*" if on_one == "true" else "/api/uploads")
        if key != ("HEAD", "/api/uploads"):
            assert EXPECTED[key][0] is {"AUTH_LOGIN": LOGIN, "AUTH_CONFIGURE_COMPONENTS": COMPONENTS}[privileges]
    known = {path for _, path, _, _ in rows} | {"/api/session", "/"}
    assert known == {path for _, path in EXPECTED}


def test_each_route_for_each_role(new_site, folder):
    site = new_site(slots=SLOTS, keys={"upload-directory": folder / "store"})
    clients = {None: site.web(), **{user: site.web(user) for user in ("reader", "operator", "admin")}}
    for (method, _), (who, path, body) in EXPECTED.items():
        for user, web in clients.items():
            if method == "DELETE" and path == "/api/session" and user:
                web = site.web(user)
            if path == "/api/events" and who[user]:
                events = Events(web)
                assert events.answer.status == 200
                events.close()
                continue
            status = web.ask(method, path, body, body=b"data" if method == "PUT" else b"").status
            expected = status not in (401, 403) if who[user] else status == (403 if user else 401)
            assert expected, (method, path, user, status)
    for user, web in clients.items():
        for path in ("/nbd/0", "/nbd/slot1", "/vm/0/0"):
            headers = {} if user is None else {"Sec-WebSocket-Protocol": web.csrf}
            if user in ("operator", "admin"):
                WebSocket(web, path, web.csrf).wire.cut()
                site.wait_state("slot1" if "slot1" in path else "slot0", "empty")
            else:
                assert refused(web, path, None, headers) == (403 if user else 401)


def test_a_websocket_is_not_opened_by_another_site(site):
    """Cross-site WebSocket hijacking."""
    web, other = site.web("admin"), site.web("operator")
    assert refused(web, "/nbd/0") == 401  # the cookie alone
    host = web.host
    for origin in ("https://evil.example", "null", f"https://evil.{host}", f"https://{host}0", f"http://{host}", "https://127.0.0.1",
                   f"https://{host}.evil.example", f"https://{host}/", f"https://x@{host}", "", f"https://{host} https://evil.example"):
        assert refused(web, "/nbd/0", web.csrf, {"Origin": origin}) in (400, 403), origin
    for protocol in (None, "x", other.csrf, web.csrf[:-1], web.csrf + "x", f"{web.csrf}, x", f"x, {web.csrf}", web.csrf.swapcase(),
                     web.cookies[COOKIE]):
        assert refused(web, "/nbd/0", protocol) == 401, protocol
    WebSocket(web, "/nbd/0", web.csrf).wire.cut()
    site.wait_state("slot0", "empty")
    WebSocket(web, "/nbd/0", web.csrf, origin=False).wire.cut()  # no browser at all
    assert not re.search(r"insert.*evil", site.daemon.log())


def test_other_origins_may_be_allowed(new_site):
    site = new_site(keys={"origins": "https://console.example.org https://b.example"})
    web = site.web("admin")
    WebSocket(web, "/nbd/0", web.csrf, {"Origin": "https://console.example.org"}).wire.cut()
    assert refused(web, "/nbd/1", web.csrf, {"Origin": "https://console.example.org.evil.example"}) == 403


@pytest.mark.parametrize("change", [["--disable"], ["--enable", "--role", "ReadOnly"], ["--delete"], []],
                         ids=["disabled", "role", "deleted", "password"])
def test_sessions_end_with_a_change_of_their_account(new_site, change):
    site = new_site(slots=SLOTS)
    web, other = site.web("operator"), site.web("admin")
    events = Events(web)
    assert events.next()
    browsers = [Browser(web, Image(bytes(5000)), "slot0"), Browser(web, Image(bytes(5000)), "slot1", flavour="jsnbd")]
    for browser in browsers:
        browser.wait_serving()
        site.wait_state(browser.slot, "ready")
    passwd(site.users, *change, "operator", given="new password\n")
    for browser in browsers:
        assert browser.wait_end(10) == 1008
        site.wait_state(browser.slot, "empty", 10)
    while events.next() is not None:
        pass
    assert web.get("/api/slots").status == 401
    assert web.try_login("operator", PASSWORDS["operator"]).status == (200 if "--role" in change else 401)
    assert other.get("/api/slots").status == 200


def test_headers_of_a_proxy_let_nobody_in(site):
    web = site.web()
    for name, value in (("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-User", "admin"), ("Forwarded", "for=127.0.0.1"),
                        ("X-Real-IP", "::1"), ("X-Server-Addr", "127.0.0.1"), ("Host", "127.0.0.1"), ("Host", "169.254.0.17"),
                        ("X-Remote-User", "admin"), ("X-SSL-Client-CN", "admin")):
        assert web.get("/api/slots", headers={name: value}).status == 401, name
    text = web.text("GET", "/api/slots")
    assert web.raw(text.replace(b"\r\n\r\n", b"\r\nHost: 127.0.0.1\r\n\r\n")).status == 400


def test_there_is_no_password_in_the_program():
    strings = set(re.findall(rb"[ -~]{4,}", pathlib.Path(os.path.realpath(binary())).read_bytes()))
    assert not strings & {b"0penBmc", b"ADMIN", b"calvin", b"admin:admin", b"root:root", b"changeme"}
    assert not [s for s in strings if re.match(rb"\$(y|6)\$.{20,}", s)]


def test_logins_do_not_grow_without_bound(site):
    web, tokens = site.web(), set()
    for _ in range(30):
        answer = web.try_login("operator", PASSWORDS["operator"])
        assert answer.status in (200, 503)
        if answer.status == 200:
            tokens.add(re.match(COOKIE + r"=([A-Za-z0-9_-]{43});", answer.all("Set-Cookie")[0])[1])
    alive_tokens = []
    for token in tokens:
        web.cookies = {COOKIE: token}
        if web.get("/api/session").status == 200:
            alive_tokens.append(token)
            web.csrf = web.get("/api/session").json()["csrf"]
            assert web.ask("DELETE", "/api/session").status == 200
            web.csrf = None
    assert 1 <= len(alive_tokens) <= 8 and len({t[:8] for t in tokens}) == len(tokens)
    assert site.web("operator").get("/api/slots").status == 200


# --- the next client on a slot ---


def test_the_next_connection_inherits_nothing(site):
    """A virtual USB server whose state was bound to a number of a file descriptor, which the next client got."""
    web, image, before = plain(site), Image(os.urandom(200_000)), None
    for i in range(20 if SANITIZED else 300):
        browser = Browser(web, image, flavour="jsnbd").wait_serving()
        site_uri = site.uri()
        if i % 30 == 0:
            wait_for(lambda: site.status()["state"] == "ready", "the medium")
            assert handle(site_uri).pread(1000, 0) == image.data[:1000]
        browser.cut()
        with web.connect() as wire:
            wire.sendall(web.text("GET", "/nbd/0", upgrade_fields()) + frame(BINARY, GREETING))
            answer = AnswerReader(wire).next()
            assert answer.status == 401 and b"IHAVEOPT" not in answer.rest  # which was read as a request, if at all
        site.wait_state("slot0", "empty")
        if i == 10:
            before = fds(site)
    wait_for(lambda: fds(site) <= before + 3, "the descriptors to be closed")


# --- TLS ---


def test_nothing_is_spoken_in_the_clear_on_the_tls_port(site):
    address = site.address()
    for text in (site.web().text("POST", "/api/session", body=b"{}"), site.web().text("GET", "/nbd/0", upgrade_fields()),
                 GREETING, b"\x80\x2e\x01\x00\x02" + bytes(43), b"STARTTLS\r\n"):
        with Web(address, None).connect() as wire:
            wire.sendall(text)
            answer = wire.read_all()
            assert b"HTTP" not in answer and len(answer) < 20  # a TLS alert at most
    alive(site)


def test_bytes_before_the_handshake_are_not_acted_on(site):
    web = site.web()
    with Web(site.address(), None).connect() as wire:
        wire.sendall(web.text("GET", "/api/slots", {"Connection": "keep-alive"}))
        with pytest.raises(OSError):
            wire.handshake(tls_context())
    alive(site)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_protocols_are_refused(site, version):
    context = tls_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with pytest.raises(OSError):
        Web(site.address(), context).connect()


def test_weak_ciphers_are_refused(site):
    tried = 0
    for ciphers in ("NULL", "aNULL", "3DES", "RC4", "kRSA+AES", "DES", "EXPORT", "AES+CBC", "CAMELLIA"):
        context = tls_context()
        try:
            context.set_ciphers(ciphers + ":@SECLEVEL=0")
        except ssl.SSLError:
            continue  # this OpenSSL has not even got them
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(OSError):
            Web(site.address(), context).connect()
        tried += 1
    assert tried >= 3


def test_the_protocols_of_today_are_spoken(site):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = tls_context()
        context.minimum_version = context.maximum_version = version
        with Web(site.address(), context).connect() as wire:
            assert wire.tls.cipher()[2] >= 128 and ("GCM" in wire.tls.cipher()[0] or "POLY1305" in wire.tls.cipher()[0])


def test_bytes_behind_an_upgrade_belong_to_the_websocket(site):
    web = site.web("admin")
    socket = WebSocket(web, "/nbd/0", web.csrf, pipelined=frame(BINARY, GREETING))
    assert socket.read()[:4] == struct.pack(">I", 3)  # the client's flags: the greeting was taken
    socket.wire.cut()
    site.wait_state("slot0", "empty")
    request = web.text("POST", "/api/slots/slot1/eject")
    before = site.daemon.log().count("audit: eject")
    socket = WebSocket(web, "/nbd/0", web.csrf, pipelined=request)
    with pytest.raises(Exception):
        while True:
            socket.read()
    assert socket.code == 1002 and site.daemon.log().count("audit: eject") == before
    assert refused(web, "/nbd/0", "wrong", pipelined=request) == 401
    alive(site)


# --- HTTP ---


def test_a_body_over_the_limit_is_refused_before_it_is_sent(site):
    web, other = site.web("admin"), site.web()
    for client, path, limit in ((other, "/api/session", 4 << 10), (web, "/api/slots/slot0/insert", 64 << 10)):
        text = client.text("POST", path, {"Expect": "100-continue", "Content-Length": str(limit + 1)})
        with client.connect() as wire:
            wire.sendall(text)
            assert AnswerReader(wire).next().status == 413
        text = client.text("POST", path, {"Expect": "100-continue", "Content-Length": "7"})
        with client.connect() as wire:
            reader = AnswerReader(wire)
            wire.sendall(text)
            assert reader.next().status == 100
            wire.sendall(b'{"x":1}')
            assert reader.next().status == 400
        assert client.ask("POST", path, body=b" " * (limit + 1)).status == 413
    assert other.raw(other.text("POST", "/api/slots/slot0/insert", {"Expect": "100-continue", "Content-Length": "7"})).status == 401
    assert web.post("/api/slots/slot0/eject", headers={"Expect": "x"}).status == 417


def test_wrong_lengths_move_no_memory(site):
    web = site.web()
    web.get("/")
    site.daemon.reset_rss()
    before = site.daemon.rss()
    for length in ("9223372036854775808", "18446744073709551616", "9223372036854775807", "99999999999999999999999", "-1", "+5", "0x5",
                   "5 5", "5,5", "", "1e3", "４"):
        text = web.text("POST", "/api/session").replace(b"Content-Length: 0", b"Content-Length: " + length.encode())
        assert web.raw(text).status in (400, 413), length
    text = web.text("POST", "/api/session").replace(b"Content-Length: 0", b"Content-Length: 5\r\nContent-Length: 5")
    assert web.raw(text).status == 400
    for size, status in (("ffffffffffffffff", 413), ("fffffffffffffffff", 400), ("7fffffffffffffff", 413), ("1001", 413)):
        text = web.text("POST", "/api/session", {"Content-Length": None, "Transfer-Encoding": "chunked"})
        assert web.raw(text + size.encode() + b"\r\n{}").status == status, size
    if not SANITIZED:
        assert site.daemon.rss() - before < 1 << 20


def test_oversized_and_broken_heads(site):
    web = site.web()
    good = web.text("GET", "/api/slots")[:-2]
    for extra, statuses in ((b"X: " + b"a" * 8192 + b"\r\n", (431,)), (b"X: y\r\n" * 1000, (431,)), (b"X" * 9000 + b": y\r\n", (431,)),
                            (b"X: a\0b\r\n", (400,)), (b"X: a\rb\r\n", (400,)), (b"X: a\nb: c\r\n", (400,)), (b"X: a\r\n b\r\n", (400,)),
                            (b"X : y\r\n", (400,)), (b": y\r\n", (400,)), (b"X\r\n", (400,)), (b"X\x01: y\r\n", (400,)),
                            (b"H\xc3\xa4: y\r\n", (400,))):
        assert web.raw(good + extra + b"\r\n").status in statuses, extra[:30]
    for line, statuses in ((b"GET /" + b"a" * 65536 + b" HTTP/1.1", (414,)), (b"GET / HTTP/2.0", (505,)), (b"GET /", (400,)),
                           (b"GET  / HTTP/1.1", (400,)), (b"GET / HTTP/1.1 ", (400,)), (b"GE\0T / HTTP/1.1", (400,)),
                           (b"TRACE / HTTP/1.1", (405, 501)), (b"CONNECT x:1 HTTP/1.1", (400, 405, 501)), (b"A" * 9000 + b" / HTTP/1.1", (400, 414, 501)),
                           (b"GET http://other/ HTTP/1.1", (400,)), (b"GET /%zz HTTP/1.1", (400,)), (b"GET /a%00 HTTP/1.1", (400,)),
                           (b"GET /../x HTTP/1.1", (400,)), (b"\x16\x03\x01", (400,))):
        assert web.raw(line + good[good.index(b"\r\n"):] + b"\r\n").status in statuses, line[:30]
    assert web.raw(b"\r\n\r\n\r\n").status == 400
    alive(site)


def test_requests_that_two_servers_would_read_differently(site):
    web = site.web("admin")
    second = web.text("POST", "/api/slots/slot1/eject")
    count = site.daemon.log().count("audit: eject")
    chunked = b"0\r\n\r\n"
    for fields, body in ((b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", chunked), (b"Transfer-Encoding: xchunked\r\n", chunked),
                         (b"Transfer-Encoding: chunked, identity\r\n", chunked), (b"Transfer-Encoding : chunked\r\n", chunked),
                         (b"Transfer-Encoding: identity, chunked\r\n", chunked), (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", chunked),
                         (b"Transfer-Encoding:\x0bchunked\r\n", chunked), (b"Content-Length: 0\r\nContent-Length: 5\r\n", b""),
                         (b"Content-Length : 0\r\n", b""), (b"Transfer-Encoding: chunked\r\n", b"0;" + b"x" * (1 << 20) + b"\r\n\r\n"),
                         (b"Transfer-Encoding: chunked\r\n", b"1\nx\n0\n\n"), (b"Transfer-Encoding: chunked\r\n", b"-1\r\n\r\n"),
                         (b"Transfer-Encoding: chunked\r\n", b"0x1\r\nx\r\n0\r\n\r\n"), (b"Transfer-Encoding: chunked\r\n", b" 1\r\nx\r\n0\r\n\r\n"),
                         (b"Transfer-Encoding: chunked\r\n", b"1\r\nxx\r\n0\r\n\r\n")):
        head = web.text("POST", "/api/slots/slot0/heat", {"Content-Length": None, "Connection": "keep-alive"})[:-2]
        # To a path without a handler for its body, so that all that is judged is the framing.
        head = head.replace(b"/api/slots/slot0/heat", b"/api/slots/slot0/insert")
        with web.connect() as wire:
            try:
                wire.sendall(head + fields + b"\r\n" + body + second)
            except OSError:
                pass
            answer = AnswerReader(wire).next()
        assert answer.status in (400, 413) and answer.get("Connection") == "close" and not answer.rest, (fields, body[:20], answer)
    assert site.daemon.log().count("audit: eject") == count
    with web.connect() as wire:  # and two that are well are both answered
        reader = AnswerReader(wire)
        wire.sendall(2 * web.text("GET", "/api/slots", {"Connection": "keep-alive"}))
        assert [reader.next().status, reader.next().status] == [200, 200]


def test_there_is_no_multipart(site):
    web = site.web("admin")
    body = b'--x\r\nContent-Disposition: form-data; name="url"\r\n\r\nhttps://h/x\r\n--x--\r\n'
    for path in ("/api/slots/slot0/insert", "/api/session"):
        assert web.ask("POST", path, body=body, headers={"Content-Type": "multipart/form-data; boundary=x"}).status == 400


@pytest.mark.parametrize("body", [b"[" * 1000 + b"]" * 1000, b'{"a":' * 1000, b'{"url":"a","url":"b"}', b'{"url":1e400}', b'{"url":"\\ud800"}',
                                  b'{"url":"a\\u0000b"}', b'\xef\xbb\xbf{"url":"a"}', b'{"url":"a"} x', b'["url"]', b'"url"', b"null", b"",
                                  b"{'url':'a'}", b'{"url":"\xff"}', b'{"url":"a",}', b'{"url":NaN}'])
def test_json_is_taken_strictly(site, body):
    answer = site.web("admin").ask("POST", "/api/slots/slot0/insert", body=body)
    assert answer.status == 400 and answer.error


# --- connections ---


def close_wait(port):
    count = 0
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(name):
            rows = [line.split() for line in open(name)][1:]
            count += sum(row[3] == "08" and int(row[1].rsplit(":", 1)[1], 16) == port for row in rows)
    return count


def test_connections_that_are_dropped_leave_nothing(new_site):
    site = new_site(keys={"web-connections": "400", "web-connections-each": "400"})
    before = fds(site)
    wires = [site.web().connect() for _ in range(60 if SANITIZED else 300)]
    wait_for(lambda: fds(site) >= before + len(wires), "the connections")
    for i, wire in enumerate(wires):
        if i % 3 == 0:
            wire.sendall(site.web().text("GET", "/api/slots")[:-2])
        wire.cut(reset=i % 2)
    wait_for(lambda: fds(site) <= before + 1 and close_wait(site.address()[1]) == 0, "the descriptors to be closed", 20)
    alive(site)


def test_connections_are_bounded_for_each_address_and_in_all(new_site):
    site = new_site(keys={"web-connections": "12", "web-connections-each": "8"})
    held = [site.web().connect() for _ in range(8)]
    assert no_answer(site.web())
    others = [site.web(source="127.0.0.21").connect() for _ in range(4)]
    assert no_answer(site.web(source="127.0.0.22"))
    held.pop().close()
    wait_for(lambda: not no_answer(site.web(source="127.0.0.22")), "a free place")
    for wire in held + others:
        wire.cut()


def test_slow_clients_are_ended_and_stop_nobody(new_site):
    """Slow headers, a TLS handshake that does not go on, a server that never answers an insert."""
    site = new_site(slots=SLOTS)
    before = fds(site)
    liar = Liar(bytes(100_000))
    liar.behaviour = stall
    web = site.web("admin")
    waiting = web.connect()
    waiting.sendall(web.text("POST", "/api/slots/slot0/insert", body=b'{"url":"%s"}' % liar.url().encode()))
    slow = [web.connect() for _ in range(8)]
    for wire in slow:
        wire.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
    silent = [socket.create_connection(site.address()) for _ in range(8)]
    for i, s in enumerate(silent):
        s.settimeout(60)
        if i % 2:
            s.sendall(b"\x16\x03\x01\x02\x00\x01")
    ends = [threading.Thread(target=wire.read_all) for wire in slow]
    for thread in ends:
        thread.start()
    slowest = 0
    while any(thread.is_alive() for thread in ends):
        for wire in slow:
            try:
                wire.sendall(b"X: y\r\n")
            except OSError:
                pass
        start = time.monotonic()
        assert web.get("/api/slots").status == 200
        slowest = max(slowest, time.monotonic() - start)
        assert time.monotonic() - start < 30
        ends[0].join(0.5)
    assert slowest < 5
    for s in silent:
        while s.recv(4096):
            pass
        s.close()
    assert web.eject("slot0").status == 200
    waiting.cut()
    liar.stop()
    wait_for(lambda: fds(site) <= before + 2, "the descriptors to be closed")


# --- the page and the log ---


def test_a_name_is_text_wherever_it_is_shown(site):
    web = site.web("admin")
    name = "<script>alert(1)</script>\r\nSet-Cookie: x=y\x1b[31m.iso"
    browser = Browser(web, Image(bytes(5000)), name=name).wait_serving()
    site.wait_state("slot0", "ready")
    answer = web.get("/api/slots", headers={"Origin": "https://evil.example"})
    assert answer.get("Content-Type") == "application/json" and not answer.all("Access-Control-Allow-Origin")
    assert not answer.all("Set-Cookie") and web.slot()["imageName"] == name
    assert "x-content-type-options" in {field.lower() for field, _ in answer.fields}
    assert web.ask("OPTIONS", "/api/slots", headers={"Origin": "https://evil.example"}).status == 403
    assert "<script>" not in web.get("/").body.decode("latin-1")
    browser.stop()


def test_nothing_of_a_client_breaks_a_line_of_the_log(site):
    evil = "x\r\naudit: login ok: user=\"admin\"\x1b[2J\u0085\u2028"
    web = site.web("admin")
    browser = Browser(web, Image(bytes(5000)), name=evil).wait_serving()
    site.wait_state("slot0", "ready")
    with site.daemon.connect() as control:
        control.sendall(b"status\nslots\n")
        control.shutdown(socket.SHUT_WR)
        shown = b"".join(iter(lambda: control.recv(65536), b""))
    assert b"\naudit" not in shown and b"\r" not in shown and b"\x1b" not in shown
    browser.stop(4000, evil)
    browser.wait_end()
    stranger = site.web(source="127.0.0.31")
    stranger.try_login(evil, "x")
    stranger.get("/api/slots", headers={"User-Agent": "a\x1b[31m\u0085".encode().decode("latin-1"), "X-Auth-Token": "b\x1b"})
    web.insert("slot1", "https://127.0.0.1:1/" + evil)
    web.insert("slot1", "https://127.0.0.1:1/%0d%0aaudit:%1b")
    log = site.daemon.log()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", log)
    assert not re.search(r'^audit: login ok: user="admin"$|^\S* ?audit: login ok: user="admin"\W*$', log, re.M)
