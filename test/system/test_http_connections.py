"""Connections that die while nobody uses them, servers that close them, and names with several addresses: a read after that is
answered soon, and nothing is said of a server that is down."""
import random
import threading
import time

import pytest

from conftest import Nginx, timed, wait_for
from doors import elsewhere  # noqa: F401 (a fixture)
from ftpd import FtpLiar
from liar import liar  # noqa: F401 (liar is a fixture)
from relay import Relay
from test_nbd import handle

IMAGE = random.Random(14).randbytes(6_000_001)
SOON = 4 # s; with a connection that is found dead after one


def is_calm(d):
    return "trying again" not in d.log() and d.slot()["stats"]["retries"] == 0


# --- connections that nobody knows any more ---


@pytest.mark.parametrize("server,version", [("http", "1.1"), ("https", "1.1"), ("h2", "2")])
def test_those_that_died_while_idle_cost_one_wait(daemon, nginx, www, ca, server, version):
    relay = Relay(nginx.port[server])
    image = (www / "image.iso").read_bytes()
    try:
        d = daemon(ca, f"http.http-version={version}", "http.readahead=no")
        d.ok(f"insert 0 {'http' if server == 'http' else 'https'}://127.0.0.1:{relay.port}/image.iso")
        h = handle(d.uri())
        assert h.pread(2_000_000, 0) == image[:2_000_000]
        for at in (3_000_000, 4_000_000):
            relay.forget()
            data, seconds = timed(lambda: h.pread(500_000, at))
            assert data == image[at:at + 500_000] and seconds < SOON
        assert timed(lambda: h.pread(4096, 5_000_000))[1] < 1
        assert is_calm(d), d.log()
    finally:
        relay.stop()


def test_one_that_resets_or_breaks_is_not_a_server_that_is_down(daemon, liar):
    d = daemon("http.readahead=no")
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    assert h.pread(2_000_000, 0) == IMAGE[:2_000_000]
    old = liar.connections

    def forgetful(request):
        if request.connection in known:
            request.reset()
        else:
            request.partial(IMAGE)

    known = {r.connection for r in liar.requests}
    liar.behaviour = forgetful
    data, seconds = timed(lambda: h.pread(500_000, 3_000_000))
    assert data == IMAGE[3_000_000:3_500_000] and seconds < 1
    assert liar.connections > old and is_calm(d), d.log()


class Impatient(Nginx):
    """It closes what is idle for a second."""

    def config(self):
        return super().config().replace("keepalive_requests", "keepalive_timeout 1s; keepalive_requests")


@pytest.mark.parametrize("server", ["http", "https", "h2"])
def test_a_server_that_closes_what_is_idle(daemon, tmp_path_factory, www, certificates, ca, server):
    nginx = Impatient(tmp_path_factory.mktemp("nginx"), www, certificates)
    image = (www / "image.iso").read_bytes()
    try:
        d = daemon(ca, f"http.http-version={'2' if server == 'h2' else '1.1'}")
        for turn in range(2):
            d.ok(f"insert 0 {nginx.url('image.iso', server)}")
            h = handle(d.uri())
            assert h.pread(1_000_000, turn * 1_000_000) == image[turn * 1_000_000:(turn + 1) * 1_000_000]
            time.sleep(1.5)  # the pause is what is tried
            data, seconds = timed(lambda: h.pread(4096, 5_000_000))
            assert data == image[5_000_000:5_004_096] and seconds < 1
            assert is_calm(d), d.log()
            del h
            d.ok("eject 0")
    finally:
        nginx.stop()


def connections_of(d, port):
    """The established ones of the daemon to that port."""
    rows = [line.split() for line in open(f"/proc/{d.process.pid}/net/tcp").readlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def test_after_an_eject_none_is_left(daemon, liar):
    d = daemon()
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    assert h.pread(2_000_000, 0) == IMAGE[:2_000_000]
    assert connections_of(d, liar.port) > 0
    del h
    d.ok("eject 0")
    wait_for(lambda: connections_of(d, liar.port) == 0, "the connections to be closed", 5)


def test_a_slow_server_is_not_taken_for_a_dead_one_each_time(daemon, liar):
    """Two requests for the first range that is slow; then it is known."""
    d = daemon("http.readahead=no", "http.http-connections=1")
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    h.pread(512, 0)

    def slow(request):
        time.sleep(1.6)
        request.partial(IMAGE)

    liar.behaviour = slow
    before = len(liar.requests)
    for i in range(1, 5):
        assert h.pread(512, i * 1_000_000) == IMAGE[i * 1_000_000:i * 1_000_000 + 512]
    assert len(liar.requests) - before <= 4 + 1
    assert is_calm(d), d.log()


def test_a_busy_link_is_not_taken_for_a_dead_one(daemon, liar):
    """While bytes come by one connection, the others are waited for."""
    d = daemon("http.readahead=no")
    d.ok(f"insert 0 {liar.url()}")
    handles = [handle(d.uri()) for _ in range(4)]
    one_at_a_time = threading.Semaphore(1)

    def together(at):
        right = []
        threads = [threading.Thread(target=lambda n=n, h=h: right.append(h.pread(512, at + n * 700_000) == IMAGE[at + n * 700_000:][:512]))
                   for n, h in enumerate(handles)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert right == [True] * 4

    def slow(request):
        time.sleep(0.2)
        request.partial(IMAGE)

    def thin(request):
        with one_at_a_time:
            time.sleep(0.4) # the last one waits longer than for a dead one
            request.partial(IMAGE)

    liar.behaviour = slow
    together(500_000)
    liar.behaviour = thin
    before = len(liar.requests)
    together(1_000_000)
    asked = [r.range for r in liar.requests[before:]]
    assert len(asked) == len(set(asked)) == 4


# --- several addresses ---


@pytest.fixture
def ftp():
    server = FtpLiar(IMAGE)
    yield server
    server.stop()


@pytest.mark.parametrize("name", ["dead4.test", "dead6.test"])
def test_a_dead_address_does_not_keep_from_the_other(daemon, liar, ftp, elsewhere, name):
    d = daemon(environment=elsewhere)
    for url in (f"http://{name}:{liar.port}/image.iso", f"ftp://{name}:{ftp.port}/image.iso"):
        _, seconds = timed(lambda: d.ok(f"insert 0 {url}"))
        assert seconds < SOON, url
        assert handle(d.uri()).pread(200_000, 1_000_000) == IMAGE[1_000_000:1_200_000]
        d.ok("eject 0")


def test_so_it_is_with_a_proxys(daemon, liar, elsewhere):
    d = daemon(f"http.proxy=http://dead4.test:{liar.port}", environment=elsewhere)
    _, seconds = timed(lambda: d.ok("insert 0 http://image.example/image.iso"))
    assert seconds < SOON
    assert handle(d.uri()).pread(4096, 1_000_000) == IMAGE[1_000_000:1_004_096]


def test_all_have_the_whole_timeout_and_no_more(daemon, elsewhere):
    d = daemon("http.connect-timeout=2s", "http.io-timeout=2s", environment=elsewhere)
    for scheme in ("http", "ftp", "sftp"):
        error, seconds = timed(lambda: d.error(f"insert 0 {scheme}://dead.test/image.iso"))
        assert "timed out" in error and 1.8 < seconds < 5, (error, seconds)


def test_a_name_is_asked_for_again_when_its_address_fails(daemon, liar, elsewhere, tmp_path):
    moved = tmp_path / "moved"
    d = daemon("http.readahead=no", environment={**elsewhere, "ELSEWHERE_MOVED": str(moved)})
    d.ok(f"insert 0 http://moved.test:{liar.port}/image.iso")
    h = handle(d.uri())
    h.pread(4096, 0)
    known = {r.connection for r in liar.requests}
    liar.behaviour = lambda r: r.reset() if r.connection in known else r.partial(IMAGE)
    moved.touch()
    data, seconds = timed(lambda: h.pread(500_000, 3_000_000))
    assert data == IMAGE[3_000_000:3_500_000] and seconds < SOON
    assert is_calm(d), d.log()
