"""What answers to ranges and redirects are taken, from servers that are right in their own way."""
import random
import subprocess

import nbd
import pytest

from conftest import free_port, wait_for
from liar import Liar, basic, liar  # noqa: F401 (liar is a fixture)
from test_nbd import handle

IMAGE = random.Random(13).randbytes(3_000_001)
ONE, TWO = "Mon, 02 Nov 2026 10:00:00 GMT", "Tue, 03 Nov 2026 10:00:00 GMT"


@pytest.fixture
def secure(certificates):
    server = Liar(IMAGE, pair=(certificates / "good.pem", certificates / "good.key"))
    yield server
    server.stop()


def fails(h, offset=1_000_000):
    with pytest.raises(nbd.Error) as caught:
        h.pread(4096, offset)
    return caught.value.errno == "EIO"


# --- what is sent ---


def test_each_request_says_who_asks(daemon, liar):
    d = daemon()
    d.ok(f"insert 0 {liar.url()}")
    handle(d.uri()).pread(100_000, 1_000_000)
    version = d.status()["version"]
    assert {r.headers["user-agent"] for r in liar.requests} == {f"nbd-proxy/{version}"}


# --- redirects ---


def leads_to(url):
    return lambda r: r.answer(302, [("Location", url)])


def test_what_has_come_to_https_never_leaves_it(daemon, ca, liar, secure):
    other = Liar(IMAGE)
    try:
        d = daemon(ca)
        liar.behaviour = leads_to(secure.url())
        secure.behaviour = leads_to(other.url())
        for first in (liar, secure):
            assert "from https to http" in d.error(f"insert 0 {first.url()} user=u password=p")
        assert other.connections == 0
        assert sum(r.headers["range"] == "bytes=0-511" for r in secure.requests) == 2
        assert not [r for r in secure.requests[:1] if "authorization" in r.headers]
        secure.behaviour = secure.honest
        d.ok(f"insert 0 {liar.url()}")
        assert handle(d.uri()).pread(4096, 1_000_000) == IMAGE[1_000_000:1_004_096]
    finally:
        other.stop()


def test_credentials_come_back_with_their_origin_only(daemon, liar):
    """There and back again: what is given for the first is sent to the first, each time that it asks."""
    other = Liar(IMAGE)
    try:
        d = daemon("http.http-auth=basic")
        given = []

        def first(request):
            given.append(request.headers.get("authorization"))
            request.partial(IMAGE) if "last" in request.path else leads_to(other.url())(request)

        liar.behaviour = first
        other.behaviour = leads_to(liar.url("last.iso"))
        d.ok(f"insert 0 {liar.url()} user=u password=p")
        assert handle(d.uri()).pread(4096, 1_000_000) == IMAGE[1_000_000:1_004_096]
        assert set(given) == {basic("u", "p")}
        assert other.requests and not [r for r in other.requests if "authorization" in r.headers]
    finally:
        other.stop()


def test_redirects_are_counted(daemon, liar):
    d = daemon("http.redirects=2")
    steps = [0]

    def step(request):
        steps[0] += 1
        request.partial(IMAGE) if request.path == "/0" else leads_to(str(int(request.path[1:]) - 1))(request)

    liar.behaviour = step
    d.ok(f"insert 0 {liar.url('2')}")
    assert "raise redirects" in d.error(f"insert 1 {liar.url('3')}")
    liar.behaviour = lambda r: r.answer(302)
    assert "does not say where to" in d.error(f"insert 1 {liar.url()}")


# --- answers ---


def test_a_part_of_the_unchanged_image_need_not_repeat_its_time(daemon, liar):
    d = daemon("http.io-timeout=1s")
    now = [ONE]

    def behave(request):
        given = request.headers.get("if-range")
        if given is None:
            request.partial(IMAGE, etag=None, modified=now[0])
        elif given != now[0]:
            request.answer(200, [("Last-Modified", now[0])], IMAGE[:70_000])
        else:
            request.partial(IMAGE, etag=None)

    liar.behaviour = behave
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    assert h.pread(4096, 1_000_000) == IMAGE[1_000_000:1_004_096]
    now[0] = TWO
    assert fails(h, 2_500_000)
    liar.behaviour = lambda r: r.partial(IMAGE[::-1], etag=None, extra=[("Last-Modified", TWO), ("Last-Modified", ONE)])
    assert fails(h, 2_500_000)


def test_a_server_that_sends_less_than_it_is_asked_for_is_asked_again(daemon, liar):
    d = daemon("http.io-timeout=2s", "http.readahead=no")

    def short(request, most):
        a, b = request.range
        last = min(b, a + most - 1)
        body = IMAGE[a:last + 1]
        request.answer(206, [("ETag", '"one"'), ("Content-Range", f"bytes {a}-{last}/{len(IMAGE)}")], body)

    liar.behaviour = lambda r: short(r, 10_000)
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    assert h.pread(200_000, 1_000_000) == IMAGE[1_000_000:1_200_000]
    assert h.pread(4096, len(IMAGE) - 4096) == IMAGE[-4096:]
    liar.behaviour = lambda r: short(r, 1)
    asked = len(liar.requests)
    assert fails(h, 2_000_000)
    assert len(liar.requests) - asked <= 200
    assert "too little" in d.slot()["error"]


class Busybox:
    def __init__(self, folder):
        self.port = free_port()
        self.process = subprocess.Popen(["busybox", "httpd", "-f", "-p", f"127.0.0.1:{self.port}", "-h", str(folder)])

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def test_busybox_httpd(daemon, folder):
    (folder / "image.iso").write_bytes(IMAGE)
    server = Busybox(folder)
    try:
        d = daemon()
        wait_for(lambda: d.ask(f"insert 0 http://127.0.0.1:{server.port}/image.iso")[-1].startswith("ok"), "busybox", 10)
        h = handle(d.uri())
        for offset in range(0, len(IMAGE), 500_000):
            length = min(500_000, len(IMAGE) - offset)
            assert h.pread(length, offset) == IMAGE[offset:offset + length]
    finally:
        server.stop()


@pytest.mark.parametrize("size", [2, 511, 512, 513])
def test_a_tiny_image(daemon, own_nginx, ca, www, size):
    path = www / f"tiny-{size}.iso"
    path.write_bytes(IMAGE[:size])
    d = daemon(ca)
    d.ok(f"insert 0 {own_nginx.url(path.name)}")
    h = handle(d.uri())
    assert d.slot()["size"] == size
    assert h.pread(size, 0) == IMAGE[:size]


# --- farms ---


def edge(request, key, times=(ONE,)):
    """A server of a farm, each with ETags of its own."""
    etag = f'"edge-{key % 3}"'
    given = request.headers.get("if-range", "")
    modified = times[key % len(times)]
    if given.startswith('"') and given != etag:
        return request.answer(200, [("ETag", etag), ("Last-Modified", modified)], IMAGE[:70_000])
    request.partial(IMAGE, etag=etag, modified=modified)


@pytest.mark.parametrize("by", ["offset", "connection"])
def test_a_farm_is_read_by_its_time(daemon, liar, by):
    d = daemon()
    connections = []

    def behave(request):
        if request.connection not in connections:
            connections.append(request.connection)
        edge(request, request.range[0] >> 20 if by == "offset" else connections.index(request.connection))

    liar.behaviour = behave
    d.ok(f"insert 0 {liar.url()}")
    assert "another ETag for other parts" in d.log()
    h = handle(d.uri())
    for offset in range(0, len(IMAGE) - 4096, 500_000):
        assert h.pread(4096, offset) == IMAGE[offset : offset + 4096]
    liar.behaviour = lambda r: edge(r, r.range[0] >> 20, (ONE, TWO))
    assert "another Last-Modified for other parts" in d.error(f"insert 1 {liar.url()}")


def test_that_can_be_configured(daemon, liar):
    d = daemon("http.validator=last-modified", "http.io-timeout=1s")
    liar.behaviour = lambda r: edge(r, r.range[0] >> 20)
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    for offset in range(0, len(IMAGE), 250_000):
        length = min(250_000, len(IMAGE) - offset)
        assert h.pread(length, offset) == IMAGE[offset:offset + length]
    assert {r.headers.get("if-range") for r in liar.requests} == {None, ONE}
    liar.behaviour = lambda r: edge(r, r.range[0] >> 20, (ONE, TWO))
    assert "another Last-Modified" in d.error(f"insert 1 {liar.url()}")
    liar.behaviour = lambda r: r.partial(IMAGE)
    assert "tells no Last-Modified" in d.error(f"insert 1 {liar.url()}")


def test_its_change_of_time_is_a_change(daemon, liar):
    d = daemon("slot.slot0.validator=last-modified", "http.io-timeout=1s", "http.readahead=no")
    liar.behaviour = lambda r: r.partial(IMAGE, modified=ONE)
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    h.pread(512, 0)
    liar.behaviour = lambda r: r.partial(IMAGE[::-1], modified=TWO)
    assert fails(h, 2_500_000) and "changed" in d.slot()["error"]


def test_a_part_that_can_not_be_had_at_the_insert_does_not_keep_it_out(daemon, liar):
    d = daemon("http.http-connections=1")
    liar.behaviour = lambda r: r.partial(IMAGE) if r.range[0] == 0 else r.answer(503)
    d.ok(f"insert 0 {liar.url()}")
