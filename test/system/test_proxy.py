"""Behind a front proxy: who asks is whom the proxy names, for locks, limits and the log; of anybody else it is not believed. And strangers
do not use up the connections."""
import base64
import concurrent.futures
import socket
import time

import pytest

from redfish_client import own, users  # noqa: F401
from redfish_client import PASSWORDS

STRANGER, ADMIN = "203.0.113.9", "198.51.100.7"


class Door:
    """A UNIX socket or an address, by plain HTTP as a proxy speaks it."""

    def __init__(self, place, source=None):
        self.place, self.source = place, source

    def connect(self):
        if isinstance(self.place, str):
            s = socket.socket(socket.AF_UNIX)
        else:
            s = socket.socket()
            s.bind((self.source or "127.0.0.1", 0))
        s.settimeout(20)
        s.connect(self.place)
        return s

    def ask(self, user, password, *fields, path="/redfish/v1/Managers/bmc"):
        """The status, with the connection closed."""
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        lines = [f"GET {path} HTTP/1.1", "Host: x", f"Authorization: Basic {basic}", "Connection: close", *fields]
        with self.connect() as s:
            s.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
            return int(s.makefile("rb").readline().split()[1])


def door(d, kind):
    if kind == "unix":
        return Door(f"{d.folder}/web.sock")
    line = next(line for line in d.log().splitlines() if "listening on 127" in line and "(http)" in line)
    return Door(("127.0.0.1", int(line.split("listening on 127.0.0.1:")[1].split()[0])))


FIELDS = {"X-Forwarded-For": "X-Forwarded-For: {}", "Forwarded": 'Forwarded: for="{}";proto=https',
          "appended": "X-Forwarded-For: 192.0.2.200, {}"}


def guess(at, fields=lambda i: []):
    """20 wrong ones with invented names, which lock an address; six at a time, since the answer to each is held back."""
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(lambda i: at.ask(f"nobody{i}", "wrong", *fields(i)), range(20)))
    assert codes == 20 * [401]


def behind(own, folder, *more):  # noqa: F811
    return own("web.listen-plain=127.0.0.1:0 unix:" + str(folder / "0" / "web.sock"), *more)


@pytest.mark.parametrize("kind,field", [("unix", "X-Forwarded-For"), ("listed", "Forwarded"), ("listed", "appended")])
def test_who_guesses_behind_a_proxy_locks_himself_out(own, folder, kind, field):  # noqa: F811
    d = behind(own, folder, "web.trusted-proxies=127.0.0.1/32")
    at, said = door(d, kind), FIELDS[field]
    guess(at, lambda i: [said.format(STRANGER)])
    assert at.ask("admin", PASSWORDS["admin"], said.format(STRANGER)) == 429
    assert at.ask("admin", PASSWORDS["admin"], said.format(ADMIN)) == 200
    assert f'audit: login ok: user="admin" peer="{ADMIN}"' in d.log() and f'login locked: peer="{STRANGER}"' in d.log()


def test_nobody_else_is_believed(own, folder):  # noqa: F811
    """Neither the lock nor the log follows what a client says of itself: each guess comes with another address."""
    d = behind(own, folder, "web.trusted-proxies=192.0.2.1")
    at = door(d, "tcp")
    said = ["X-Forwarded-For: 203.0.113.{}", "Forwarded: for=203.0.113.{}", "X-Real-IP: 203.0.113.{}"]
    guess(at, lambda i: [text.format(i) for text in said])
    assert at.ask("nobody", "wrong", *[text.format(99) for text in said]) == 429
    assert "203.0.113" not in d.log() and 'login locked: peer="127.0.0.1"' in d.log()


@pytest.mark.parametrize("fields", [[f"X-Forwarded-For: {STRANGER}", f"Forwarded: for={ADMIN}"], ["X-Forwarded-For: nonsense"],
                                    ["Forwarded: for=unknown"], [f"X-Forwarded-For: {ADMIN}, x"], ["X-Forwarded-For: " + "1.1.1.1," * 400 + "1.1.1.1"]])
def test_a_field_that_says_nothing_is_the_proxys(own, folder, fields):  # noqa: F811
    d = behind(own, folder)
    assert door(d, "unix").ask("admin", "wrong", *fields) == 401
    assert 'audit: login failed: user="admin" peer="unix"' in d.log()


def test_a_session_at_an_address_is_not_shut_out_by_others_there(own, folder):  # noqa: F811
    d = behind(own, folder)
    at = door(d, "unix")
    assert at.ask("admin", PASSWORDS["admin"]) == 200
    guess(at)
    assert at.ask("operator", PASSWORDS["operator"]) == 429
    assert at.ask("admin", PASSWORDS["admin"]) == 200


def test_connections_of_a_proxy_count_for_whom_it_asks(own, folder):  # noqa: F811
    d = behind(own, folder, "web.web-connections-each=4", "web.trusted-proxies=127.0.0.1")
    at, kept = door(d, "listed"), []

    def get(client):
        s = at.connect()
        kept.append(s)
        s.sendall(f"GET /redfish HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\r\n".encode())
        return int(s.recv(4096).split()[1])

    assert [get(STRANGER) for _ in range(5)] == 4 * [200] + [503]
    assert [get(f"198.51.100.{i}") for i in range(8)] == 8 * [200]


def test_strangers_do_not_use_up_the_connections(own, folder):  # noqa: F811
    """All places are taken by those who said nothing, asked once, or send their login slowly: who has an account comes in, and stays."""
    d = behind(own, folder, "web.web-connections=16", "web.web-connections-each=8")
    at = door(d, "tcp")
    known = at.connect()
    basic = base64.b64encode(f"admin:{PASSWORDS['admin']}".encode())
    ask = b"GET /api/slots HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " + basic + b"\r\n\r\n"
    known.sendall(ask)
    assert known.recv(65536).startswith(b"HTTP/1.1 200")
    said = [b"", b"GET /redfish HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /api/session HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"]
    strangers = []
    for i in range(40):
        s = Door(at.place, f"127.0.0.{2 + i % 5}").connect()
        s.sendall(said[i % 3])
        strangers.append(s)
        time.sleep(0.01)  # they come one after the other
    begun = time.monotonic()
    assert Door(at.place, "127.0.0.9").ask("admin", PASSWORDS["admin"], path="/api/slots") == 200
    assert time.monotonic() - begun < 2
    known.sendall(ask)
    assert known.recv(65536).startswith(b"HTTP/1.1 200")
    assert "closed for another" in d.log()
    for s in strangers:
        s.close()


def test_keys_that_are_none_are_refused(own):  # noqa: F811
    with pytest.raises(AssertionError, match="trusted-proxies"):
        own("web.trusted-proxies=proxy.example.com")
