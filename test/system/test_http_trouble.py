"""How long a trouble is waited for, how often it is tried again, and what else goes on meanwhile."""
import random
import socket
import threading
import time

import nbd
import pytest

from conftest import timed, wait_for
from liar import liar, stall  # noqa: F401 (liar is a fixture)
from test_nbd import handle

IMAGE = random.Random(12).randbytes(3_000_001)


def test_a_host_that_does_not_answer_is_given_up_after_connect_timeout(daemon):
    """A full backlog: the kernel drops what knocks."""
    d = daemon("http.connect-timeout=1s")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        knocking = []
        for _ in range(8):
            knocking.append(socket.socket())
            knocking[-1].setblocking(False)
            knocking[-1].connect_ex(server.getsockname())
        error, seconds = timed(lambda: d.error(f"insert 0 http://127.0.0.1:{server.getsockname()[1]}/x"))
        for s in knocking:
            s.close()
    assert 0.9 < seconds < 8 and "time" in error.lower(), (seconds, error)


def test_a_server_that_says_nothing_at_the_insert_is_given_up_after_io_timeout(daemon, liar):
    d = daemon("http.stall-timeout=1s", "http.io-timeout=2s", "http.connect-timeout=30s")
    liar.behaviour = stall
    error, seconds = timed(lambda: d.error(f"insert 0 {liar.url()}"))
    assert 0.9 < seconds < 8, (seconds, error)
    assert d.slot()["state"] == "empty"


def test_tries_come_with_growing_pauses(daemon, liar):
    d = daemon("http.io-timeout=8s", "http.readahead=no")
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    assert h.pread(512, 0) == IMAGE[:512]
    times = []

    def busy(request):
        times.append(time.monotonic())
        request.answer(503)

    liar.behaviour = busy
    _, seconds = timed(lambda: pytest.raises(nbd.Error, h.pread, 4096, 1_000_000))
    assert 7 < seconds < 12
    pauses = [b - a for a, b in zip(times, times[1:])]
    # Two tries at once, then probes: 250 ms doubled up to 5 s, each between a half and the whole of that.
    assert 4 <= len(times) <= 12, pauses
    for i, pause in enumerate(pauses[1:]):
        most = min(250 << i, 5000) / 1000
        assert most * 0.45 <= pause <= most + 1, pauses
    assert len(set(round(p, 3) for p in pauses)) > 2


def test_a_part_that_can_not_be_read_fails_alone(daemon, liar):
    d = daemon("http.io-timeout=2s", "http.readahead=no")
    d.ok(f"insert 0 {liar.url()}")
    liar.behaviour = lambda r: r.answer(503) if r.range[0] <= 2_000_000 <= r.range[1] else r.partial(IMAGE)
    bad, good = handle(d.uri()), handle(d.uri())
    errors = []

    def read_bad():
        try:
            bad.pread(512, 2_000_000)
        except nbd.Error as error:
            errors.append(error.errno)

    thread = threading.Thread(target=read_bad)
    thread.start()
    for offset in range(0, 1_000_000, 100_000):
        assert good.pread(4096, offset) == IMAGE[offset:offset + 4096]
    thread.join()
    assert errors == ["EIO"]
    assert good.pread(4096, 1_500_000) == IMAGE[1_500_000:1_504_096]
    assert d.slot()["state"] == "ready"


def test_a_transfer_that_stalls_in_the_middle_is_tried_again(daemon, liar):
    d = daemon("http.stall-timeout=1s", "http.io-timeout=20s")
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    stalled = []

    def once(request):
        a, b = request.range
        if stalled or not a <= 1_000_000 <= b: # what is read ahead is another one
            return request.partial(IMAGE)
        stalled.append(request)
        head = f"HTTP/1.1 206 X\r\nETag: \"one\"\r\nContent-Length: {b - a + 1}\r\nContent-Range: bytes {a}-{b}/{len(IMAGE)}\r\n\r\n"
        request.send(head.encode() + IMAGE[a:a + 100])
        stall(request)

    liar.behaviour = once
    data, seconds = timed(lambda: h.pread(4096, 1_000_000))
    assert data == IMAGE[1_000_000:1_004_096] and stalled
    assert 0.9 < seconds < 10
    wait_for(lambda: d.slot()["stats"]["retries"] > 0, "the count")
