"""HTTP as attackers speak it, and connections that are many, slow, or dropped."""
import os
import socket
import subprocess
import threading
import time

import pytest

from conftest import SANITIZED, binary, wait_for
from liar import Liar, stall
from test_web_security import SLOTS, alive, fds
from website import AnswerReader, accounts, new_site, no_answer, shared_site, site  # noqa: F401 (fixtures)


@pytest.fixture(scope="module")
def shared(accounts):
    yield from shared_site(accounts, slots=SLOTS)


# --- requests ---


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


@pytest.mark.plain
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


@pytest.mark.plain
def test_connections_that_are_dropped_leave_nothing(new_site):
    site = new_site(keys={"web-connections": "400", "web-connections-each": "400"})
    before = fds(site)
    wires = [site.web().connect() for _ in range(60 if SANITIZED else 300)]
    wait_for(lambda: fds(site) >= before + len(wires), "the connections")
    for i, wire in enumerate(wires):
        if i % 3 == 0:
            wire.sendall(site.web().text("GET", "/api/slots")[:-2])
        wire.cut(reset=i % 2)
    wait_for(lambda: fds(site) <= before + 1 and close_wait(site.address()[1]) == 0, "the descriptors to be closed",
             20 if SANITIZED else 5)
    alive(site)


def test_connections_are_bounded_for_each_address_and_in_all(new_site):
    site = new_site(keys={"web-connections": "12", "web-connections-each": "8"})
    held = [site.web().connect() for _ in range(8)]
    assert no_answer(site.web())
    others = [site.web(source="127.0.0.21").connect() for _ in range(4)]
    full = fds(site)
    for i in range(6):  # in all: one that nobody has logged in on goes for the next
        assert not no_answer(site.web(source=f"127.0.0.{22 + i}"))
    wait_for(lambda: fds(site) <= full, "those that went for others")
    held.pop().close()
    wait_for(lambda: not no_answer(site.web()), "a free place of that address")
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


LAUNCHER = """#!/bin/sh
exec unshare -m sh -c 'mount --bind {file} /etc/resolv.conf && exec {binary} "$@"' sh "$@"
"""


@pytest.fixture
def slow_names(folder, monkeypatch):
    """A name server that says nothing, for the daemon alone."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs a mount namespace")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.77", 53))
        (folder / "resolv.conf").write_text("nameserver 127.0.0.77\noptions timeout:8 attempts:2\n")
        launcher = folder / "launcher"
        launcher.write_text(LAUNCHER.format(file=folder / "resolv.conf", binary=binary()))
        launcher.chmod(0o755)
        monkeypatch.setenv("NBD_PROXY", str(launcher))
        yield server


@pytest.mark.plain
def test_a_slow_name_server_stops_nobody(new_site, slow_names):
    """Neither while a name is looked up, nor when that is given up."""
    site = new_site(slots=SLOTS, more="[http]\nconnect-timeout = 3s\n")
    web = site.web("admin")
    answers = []
    inserts = [threading.Thread(target=lambda slot=slot: answers.append(web.insert(slot, "https://slow.example.org/x"))) for slot in SLOTS]
    for thread in inserts:
        thread.start()
    site.wait_state("slot0", "opening")
    slow_names.settimeout(10)
    assert b"slow" in slow_names.recv(512)
    slowest, start = 0, time.monotonic()
    assert web.eject("slot0").status == 200  # one is ended, the other ends by the time it may take
    while any(thread.is_alive() for thread in inserts):
        slowest = max(slowest, time.monotonic() - start)
        time.sleep(0.02)
        start = time.monotonic()
        assert web.get("/api/slots").status == 200
    assert sorted(answer.status for answer in answers) == [409, 502]
    assert slowest < (2 if SANITIZED else 0.5)
