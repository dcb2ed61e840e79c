"""A server that is away, slow or short of room: what a host and an insert wait for, and what they don't."""
import collections
import random
import threading
import time

import nbd
import pytest

from conftest import timed, wait_for
from liar import liar  # noqa: F401 (liar is a fixture)
from test_nbd import handle

IMAGE = random.Random(14).randbytes(8 << 20)


def drip(request, well):
    """The right answer, 20 bytes a second, for as long as the server is not well."""
    a, b = request.range
    request.send((f"HTTP/1.1 206 X\r\nETag: \"one\"\r\nContent-Length: {b - a + 1}\r\n"
                  f"Content-Range: bytes {a}-{b}/{len(IMAGE)}\r\n\r\n").encode())
    for at in range(a, b + 1, 2):
        request.send(IMAGE[at:min(at + 2, b + 1)])
        if well.wait(0.1):
            return request.close()


def test_a_server_that_drips_holds_no_read_and_is_found_again(daemon, liar):
    """Also a read that joins what is being read ahead has its bytes or an error in io-timeout, counted from its beginning."""
    d = daemon("http.io-timeout=3s")
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    for at in range(0, 1 << 20, 65536):
        assert h.pread(65536, at) == IMAGE[at:at + 65536]
    well = threading.Event()
    liar.behaviour = lambda request: drip(request, well)
    at, failed = 1 << 20, 0
    while failed < 3 and at < 7 << 20:
        try:
            began = time.monotonic()
            h.pread(65536, at)
        except nbd.Error as error:
            assert error.errno == "EIO"
            failed += 1
        assert time.monotonic() - began < 5
        at += 65536
    assert failed == 3
    liar.behaviour = liar.honest
    data, seconds = timed(lambda: h.pread(65536, at))
    well.set()
    assert data == IMAGE[at:at + 65536] and seconds < 5


def test_one_answer_that_drips_is_asked_for_on_another_connection(daemon, liar):
    d = daemon("http.readahead=no")
    d.ok(f"insert 0 {liar.url()}")
    h, well, dripped = handle(d.uri()), threading.Event(), []

    def once(request):
        if dripped:
            return request.partial(IMAGE)
        dripped.append(request)
        drip(request, well)

    liar.behaviour = once
    data, seconds = timed(lambda: h.pread(65536, 1 << 20))
    well.set()
    assert data == IMAGE[1 << 20:(1 << 20) + 65536] and dripped and seconds < 12


@pytest.mark.parametrize("status", [503, 429, 408, 500])
def test_an_insert_waits_for_a_busy_server(daemon, liar, status):
    d = daemon()
    left = [2]

    def busy(request):
        left[0] -= 1
        return request.answer(status) if left[0] >= 0 else request.partial(IMAGE)

    liar.behaviour = busy
    d.ok(f"insert 0 {liar.url()}")
    assert left[0] < 0


def test_an_insert_that_can_not_be_is_refused_at_once(daemon, liar):
    d = daemon()
    liar.behaviour = lambda request: request.answer(404)
    _, seconds = timed(lambda: d.error(f"insert 0 {liar.url()}"))
    assert seconds < 4 and len(liar.requests) in (1, 2)  # one that is answered late has another beside it


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_what_a_proxy_says_while_its_server_restarts_is_waited_out(daemon, liar, status):
    d = daemon()
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    end = time.monotonic() + 1
    liar.behaviour = lambda r: r.answer(status) if time.monotonic() < end else r.partial(IMAGE)
    assert h.pread(4096, 4 << 20) == IMAGE[4 << 20:(4 << 20) + 4096]


def test_a_changed_image_costs_few_requests_and_few_lines(daemon, liar):
    d = daemon()
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    liar.behaviour = lambda request: request.partial(IMAGE, etag='"two"')
    requests = len(liar.requests)
    for i in range(1000):
        with pytest.raises(nbd.Error):
            h.pread(512, (4 << 20) + 4096 * (i % 500))
    assert len(liar.requests) - requests < 30
    # Beside those of failed reads, which are few a minute whatever fails (src/slot/host_reads.h).
    warnings = [line for line in d.log().splitlines() if "warning" in line]
    assert len(warnings) < 30 and len([line for line in warnings if "a read of the host failed" not in line]) < 10, d.log()
    liar.behaviour = liar.honest
    wait_for(lambda: "is back" in d.log() or "right again" in d.log(), "the image's return")
    assert h.pread(512, 4 << 20) == IMAGE[4 << 20:(4 << 20) + 512]


def test_a_server_that_says_when_is_left_alone_until_then(daemon, liar):
    d = daemon("http.readahead=no")
    d.ok(f"insert 0 {liar.url()}")
    h, times = handle(d.uri()), []

    def once(request):
        times.append(time.monotonic())
        return request.answer(503, [("Retry-After", "2")]) if len(times) == 1 else request.partial(IMAGE)

    liar.behaviour = once
    assert h.pread(4096, 1 << 20) == IMAGE[1 << 20:(1 << 20) + 4096]
    assert 1.9 < times[1] - times[0] < 6


def test_no_more_is_asked_for_at_a_time_than_a_server_has_room_for(daemon, liar):
    d = daemon()
    d.ok(f"insert 0 {liar.url()}")
    h, lock, active, answers = handle(d.uri()), threading.Lock(), [0], collections.Counter()

    def two_at_a_time(request):
        with lock:
            full = active[0] >= 2
            active[0] += not full
            answers[full] += 1
        if full:
            return request.answer(429)
        time.sleep(0.02)
        with lock:
            active[0] -= 1
        request.partial(IMAGE)

    liar.behaviour = two_at_a_time
    for at in range(0, 6 << 20, 1 << 18):
        assert h.pread(1 << 18, at) == IMAGE[at:at + (1 << 18)]
    assert answers[True] < 40 and answers[False] > 10, answers
