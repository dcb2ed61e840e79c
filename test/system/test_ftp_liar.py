"""FTP servers that lie, say nothing or too much: nothing wrong reaches the host, and nothing else waits for them."""
import random
import time

import nbd
import pytest

from conftest import at_once, wait_for
from ftpd import FtpLiar
from relay import Relay
from redfish_client import Client, own, users  # noqa: F401 (fixtures)
from test_http import fails_with_eio
from test_nbd import handle

IMAGE = random.Random(7).randbytes(3_000_001)


@pytest.fixture
def liar():
    server = FtpLiar(IMAGE)
    yield server
    server.stop()


def hang(session, argument):
    session.liar.ended.wait()


def reads_again(h, offset=1_000_000):
    def tried():
        try:
            return h.pread(4096, offset) == IMAGE[offset : offset + 4096]
        except nbd.Error:
            return False

    wait_for(tried, "a read", 25)


def test_an_honest_one(daemon, liar):
    d = daemon("http.readahead=no")
    d.ok(f"insert 0 {liar.url('a%20b/x.iso')}")
    h = handle(d.uri())
    assert b"".join(h.pread(min(200_000, len(IMAGE) - at), at) for at in range(0, len(IMAGE), 200_000)) == IMAGE
    assert liar.seen("RETR")[0] == "RETR a b/x.iso"
    assert {c.split(" ")[0] for c in liar.commands} <= {"AUTH", "USER", "PASS", "TYPE", "SIZE", "MDTM", "EPSV", "REST", "RETR"}


def test_a_sequential_read_is_one_transfer(daemon, liar):
    d = daemon("http.readahead=no")
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    before = len(liar.seen("RETR"))
    for at in range(0, 2_000_000, 65536):
        assert h.pread(65536, at) == IMAGE[at : at + 65536]
    assert len(liar.seen("RETR")) - before <= 2 and liar.connections <= 3


def test_a_range_elsewhere_needs_no_new_login(daemon, liar):
    d = daemon("http.readahead=no")
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    for at in (2_000_000, 100_000, 1_500_000, 700_000, 2_500_000, 300_000):
        assert h.pread(512, at) == IMAGE[at : at + 512]
    assert len(liar.seen("USER")) <= 4 and len(liar.seen("RETR")) >= 6


@pytest.mark.parametrize("busy", ["421 too many connections", "530 too many connections"])
def test_a_server_that_takes_one_connection_only(daemon, liar, busy):
    liar.limit, liar.busy = 1, busy
    d = daemon("http.readahead=no")
    d.ok(f"insert 0 {liar.url()}")
    wrong = []

    def read(seed):
        rng, h = random.Random(seed), handle(d.uri())
        for _ in range(5):
            at = rng.randrange(len(IMAGE) - 4096)
            if h.pread(4096, at) != IMAGE[at : at + 4096]:
                wrong.append(at)

    at_once(read, range(4))
    assert not wrong and "trying again" not in d.log() and liar.connections > 1


def test_the_address_of_a_passive_reply_is_ignored(daemon, liar):
    """It is 192.0.2.1, where nobody is."""
    liar.say["EPSV"] = "500 no"
    d = daemon("http.connect-timeout=2s")
    d.ok(f"insert 0 {liar.url()}")
    assert handle(d.uri()).pread(1000, 500) == IMAGE[500:1500]
    assert liar.seen("PASV")


LIES_AT_PROBE = {
    "not ftp": ({"": b"HTTP/1.1 400 Bad\r\n\r\n"}, "does not speak FTP"),
    "zeros": ({"": bytes(2000)}, None),
    "no end": ({"": b"220-" + b"x" * 100_000}, "does not speak FTP"),
    "many lines": ({"": b"220-a\r\n" + b"b\r\n" * 50_000}, "does not speak FTP"),
    "bad code": ({"": b"999 x\r\n"}, "does not speak FTP"),
    "full": ({"": "421 too many users"}, "421"),
    "closed": ({"": "530 no"}, "530"),
    "login": ({"PASS": "530 no"}, "refused the login"),
    "account": ({"PASS": "332 account"}, "refused the login"),
    "negative size": ({"SIZE": "213 -1"}, "SIZE"),
    "huge size": ({"SIZE": "213 9223372036854775808"}, "SIZE"),
    "empty": ({"SIZE": "213 0"}, "empty"),
    "too large a size": ({"SIZE": f"213 {len(IMAGE) + 1}"}, "less of the image"),
    "too small a size": ({"SIZE": f"213 {len(IMAGE) - 1}"}, "more of the image"),
    "REST is not done": ({"REST": "350 ok"}, "more of the image"),
    "no file": ({"SIZE": "550 no"}, "no such file"),
    "no right": ({"RETR": "550 no"}, "be read"),
    "port 0": ({"EPSV": "229 ok (|||0|)"}, "EPSV"),
    "no port": ({"EPSV": "229 ok"}, "EPSV"),
    "early port": ({"EPSV": "229 ok (|||1|)"}, "data connection"),
    "before TLS": ({"AUTH": b"234 go\r\n230 in\r\n"}, "before TLS"),
    "no TLS after all": ({"AUTH": b"234 go\r\n"}, None),
    "escapes": ({"USER": "530 \x1b[2J\x07 no"}, "\\x1b[2J"),
}


@pytest.mark.parametrize("lie", LIES_AT_PROBE)
def test_a_lie_at_the_probe_is_refused(daemon, liar, lie):
    d = daemon("http.stall-timeout=2s", "http.connect-timeout=2s", "http.io-timeout=5s")
    say, words = LIES_AT_PROBE[lie]
    liar.say.update(say)
    error = d.error(f"insert 0 {liar.url()}")
    assert words is None or words in error, error
    assert d.slot()["state"] == "empty" and "\x1b" not in error + d.log()
    assert not liar.seen("DELE")


def short(liar):
    liar.body = lambda offset: IMAGE[offset : offset + 100]


def nothing(liar):
    liar.body = lambda offset: b""


def gone(liar):
    liar.say["RETR"] = "550 no such file"


def larger(liar):
    liar.say["SIZE"] = f"213 {len(IMAGE) + 1}"


def newer(liar):
    liar.modified = "20250102030405"


def busy(liar):
    liar.say["EPSV"] = "425 busy"


def garbage(liar):
    liar.say["EPSV"] = b"\x00\xff\x00\r\n"


def silent(liar):
    liar.say["EPSV"] = hang


def stalled(liar):
    liar.body = lambda offset: liar.ended.wait() and b""


LIES_AT_READ = [short, nothing, gone, larger, newer, busy, garbage, silent, stalled]


@pytest.mark.parametrize("lie", LIES_AT_READ)
def test_a_lie_at_a_read_is_eio_and_passes(daemon, liar, lie):
    d = daemon("http.io-timeout=3s", "http.stall-timeout=1s", "http.readahead=no")
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    assert h.pread(1000, 500) == IMAGE[500:1500]
    time.sleep(1.1)  # what was said of the file is asked for again
    lie(liar)
    assert fails_with_eio(h, 4096, 2_000_000)
    assert d.slot()["error"] and d.slot()["state"] == "ready"
    liar.say, liar.body, liar.modified = {}, lambda offset: IMAGE[offset:], "20240102030405"
    reads_again(h)


def test_a_hung_server_holds_up_nobody_else(daemon, liar):
    other = FtpLiar(IMAGE)
    try:
        d = daemon("http.io-timeout=20s", "http.stall-timeout=10s", "http.readahead=no")
        d.ok(f"insert 0 {liar.url()}")
        d.ok(f"insert 1 {other.url()}")
        h, fine = handle(d.uri()), handle(d.uri("slot1"))
        assert h.pread(512, 0) == IMAGE[:512]
        liar.say = {word: hang for word in ("SIZE", "EPSV", "RETR", "USER")}
        waiting = [h.aio_pread(nbd.Buffer(4096), at) for at in (1_000_000, 2_000_000, 2_500_000)]
        for i in range(20):
            began = time.monotonic()
            assert fine.pread(4096, i * 100_000) == IMAGE[i * 100_000 : i * 100_000 + 4096]
            d.status()
            assert time.monotonic() - began < 1
        began = time.monotonic()
        d.ok("eject 0")
        assert time.monotonic() - began < 4 and waiting
    finally:
        other.stop()


def test_a_connection_that_dies_in_a_transfer(daemon, liar):
    relay = Relay(liar.port)
    try:
        d = daemon("http.readahead=no", "http.stall-timeout=1s")
        d.ok(f"insert 0 ftp://127.0.0.1:{relay.port}/x")
        h = handle(d.uri())
        assert h.pread(512, 0) == IMAGE[:512]
        relay.holding = True
        waiting = nbd.Buffer(4096)
        cookie = h.aio_pread(waiting, 2_000_000)
        wait_for(lambda: "trying again" in d.log(), "the stall to be noticed")
        relay.holding = False
        while not h.aio_command_completed(cookie):
            h.poll(1000)
        assert bytes(waiting.to_bytearray()) == IMAGE[2_000_000:2_004_096]
    finally:
        relay.stop()


def test_what_is_there_of_a_range_is_read(daemon, liar):
    """A transfer stops for good amid a range that is read ahead: all before that place is read, block by block."""
    stop = 1_000_000

    def parts(offset):
        yield IMAGE[offset:stop]
        if offset < stop:
            liar.ended.wait()
        yield IMAGE[max(offset, stop) :]

    liar.body = parts
    d = daemon()
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    for at in range(0, stop - 4096, 4096):
        assert h.pread(4096, at) == IMAGE[at : at + 4096]
    assert len(set(liar.seen("REST"))) == len(liar.seen("REST"))  # no range was asked for twice


@pytest.mark.parametrize("field", ["user", "password"])
def test_a_login_can_not_say_more_than_it_is(own, liar, field):
    d = own()
    login = {"user": "a", "password": "b", field: "a\r\nDELE x"}
    answer = Client(d, "operator").post("/api/slots/slot0/insert", {"url": liar.url(), **login})
    assert answer.status != 200 and "end of a line" in answer.json["error"]
    assert not liar.seen("USER") and not liar.seen("DELE")
