"""Servers that are wrong, slow, gone or in need of a password: a right byte, or an error."""
import random
import socket
import socketserver
import threading
import time

import nbd
import pytest

from conftest import wait_for
from liar import Liar, Server, basic, digest_behaviour, liar, stall  # noqa: F401 (liar is a fixture)
from test_nbd import handle

IMAGE = random.Random(11).randbytes(3_000_001)


def fails_with_eio(h, length=4096, offset=1_000_000):
    with pytest.raises(nbd.Error) as caught:
        h.pread(length, offset)
    return caught.value.errno == "EIO"


# --- refusals at the insert, each with its own words ---


@pytest.mark.parametrize("server,path,words", [
    ("https", "nothing.iso", "404 Not Found (check the path"),
    ("https", "auth/image.iso", "401 Unauthorized (it wants a user and a password"),
    ("https", "noranges/image.iso", "does not support range requests"),
    ("https", "loop", "redirects"),
    ("https", "tofile", "protocol"),
    ("https", "toftp", "protocol"),
    ("https", "downgrade/image.iso", "protocol"),
    ("wrong", "image.iso", "no alternative certificate subject name matches"),
    ("expired", "image.iso", "certificate has expired"),
    ("self", "image.iso", "self-signed certificate"),
    ("mutual", "image.iso", "400"),
])
def test_each_refusal_has_its_words(daemon, nginx, ca, server, path, words):
    d = daemon(ca)
    error = d.error(f"insert 0 {nginx.url(path, server)}")
    assert words.lower().replace("-", " ") in error.lower().replace("-", " "), error
    assert d.slot()["state"] == "empty" and d.slot()["error"]


def test_no_server_no_host_no_scheme(daemon):
    d = daemon("http.protocols=https")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        assert "check host and port" in d.error(f"insert 0 https://127.0.0.1:{s.getsockname()[1]}/x")
    assert "check the host's name" in d.error("insert 0 https://no-such-host.invalid/x")
    for name in ("http", "ftp", "ftps", "sftp", "nfs", "smb"):
        assert f"{name}:// is not allowed here (add {name} to protocols" in d.error(f"insert 0 {name}://h/x")
    assert "add nfs to protocols" in d.error("insert 0 h:/export/x.iso")
    for url in ("//h/share/x.iso", "cifs://h/share/x.iso"):
        assert "add smb to protocols" in d.error(f"insert 0 {url}")
    for url in ("gopher://h/x", "dict://h/x", "ldap://h/x", "tftp://h/x"):
        assert "this kind of URL is not supported" in d.error(f"insert 0 {url}")
    assert "or an absolute path" in d.error("insert 0 x.iso")
    assert "user= and password=" in d.error("insert 0 https://u:p@h/x")
    assert "valid URL" in d.error("insert 0 https:///x")
    assert "must be file:///PATH" in d.error("insert 0 file://otherhost/x")
    assert "check the path" in d.error("insert 0 /no/such/file")


def test_the_right_certificates_are_accepted(daemon, nginx, ca, certificates):
    d = daemon(ca)
    d.ok(f"insert 0 {nginx.url('image.iso', 'wrong')} verify=no")
    d.ok(f"insert 1 {nginx.url('moved/image.iso')}")
    d.ok("eject 0")
    e = daemon(ca, f"credentials.m.origin={nginx.url('', 'mutual')}", f"credentials.m.client-certificate={certificates}/client.pem",
               f"credentials.m.client-key={certificates}/client.key")
    e.ok(f"insert 0 {nginx.url('image.iso', 'mutual')}")
    assert len(handle(e.uri()).pread(4096, 4096)) == 4096
    f = daemon()
    assert "ca-file" in f.error(f"insert 0 {nginx.url('image.iso')}")
    f.ok(f"insert 0 {nginx.url('image.iso')} ca-file={certificates}/ca.pem")


LIES_AT_PROBE = {
    "no content-range": lambda r: r.partial(IMAGE, change=""),
    "wrong start": lambda r: r.partial(IMAGE, first=1, last=1),
    "wrong unit": lambda r: r.partial(IMAGE, change="items 0-0/5"),
    "unknown total": lambda r: r.partial(IMAGE, change="bytes 0-0/*"),
    "huge total": lambda r: r.partial(IMAGE, change="bytes 0-0/9223372036854775808"),
    "gzip": lambda r: r.partial(IMAGE, extra=[("Content-Encoding", "gzip")]),
    "multipart": lambda r: r.answer(206, [("Content-Type", "multipart/byteranges; boundary=x")], b"--x--"),
    "too long": lambda r: r.answer(206, [("Content-Range", f"bytes 0-0/{len(IMAGE)}")], b"xx"),
    "garbage": lambda r: (r.send(b"\x00\x01garbage\r\n\r\n"), r.close()),
    "empty image": lambda r: r.answer(416, [("Content-Range", "bytes */0")]),
    "two content-ranges": lambda r: r.partial(IMAGE, extra=[("Content-Range", "bytes 0-0/1")]),
    "header flood": lambda r: (r.send(b"HTTP/1.1 206 X\r\n" + b"X-Y: z\r\n" * 200000), r.close()),
}


@pytest.mark.parametrize("lie", LIES_AT_PROBE)
def test_a_lie_at_the_probe_is_refused(daemon, liar, lie):
    d = daemon("http.io-timeout=3s")
    liar.behaviour = LIES_AT_PROBE[lie]
    d.error(f"insert 0 {liar.url()}")
    assert d.slot()["state"] == "empty"


LIES_AT_READ = {
    "200 with all": lambda r: r.answer(200, [("ETag", '"one"')], IMAGE),
    "200 of another": lambda r: r.answer(200, [("ETag", '"two"')], IMAGE[::-1]),
    "no content-range": lambda r: r.partial(IMAGE, change=""),
    "shifted": lambda r: r.partial(IMAGE, first=r.range[0] + 1, last=r.range[1] + 1),
    "shorter": lambda r: r.partial(IMAGE, last=r.range[1] - 1),
    "other total": lambda r: r.partial(IMAGE, total=len(IMAGE) + 1),
    "other etag": lambda r: r.partial(IMAGE[::-1], etag='"two"'),
    "no etag": lambda r: r.partial(IMAGE[::-1], etag=None),
    "weak etag": lambda r: r.partial(IMAGE[::-1], etag='W/"one"'),
    "gzip": lambda r: r.partial(IMAGE, extra=[("Content-Encoding", "gzip")]),
    "412": lambda r: r.answer(412),
    "416": lambda r: r.answer(416),
    "longer": lambda r: r.answer(206, [("ETag", '"one"'), ("Content-Range", f"bytes {r.range[0]}-{r.range[1]}/{len(IMAGE)}")],
                                 bytes(r.range[1] - r.range[0] + 100)),
    "short body": lambda r: r.partial(IMAGE, cut=100),
    "short length": lambda r: r.answer(206, [("ETag", '"one"'), ("Content-Range", f"bytes {r.range[0]}-{r.range[1]}/{len(IMAGE)}")],
                                       b"short"),
}


@pytest.mark.parametrize("lie", LIES_AT_READ)
def test_a_lie_at_a_read_is_eio_and_passes(daemon, liar, lie):
    d = daemon("http.io-timeout=1s")
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    assert h.pread(1000, 500) == IMAGE[500:1500]
    liar.behaviour = LIES_AT_READ[lie]
    assert fails_with_eio(h)
    assert d.slot()["error"] and d.slot()["state"] == "ready"
    liar.behaviour = liar.honest
    deadline = time.monotonic() + 20
    while True:
        try:
            assert h.pread(4096, 1_000_000) == IMAGE[1_000_000:1_004_096]
            break
        except nbd.Error:
            assert time.monotonic() < deadline
    assert h.pread(100_000, 2_000_000) == IMAGE[2_000_000:2_100_000]


def test_a_changed_last_modified_is_eio(daemon, liar):
    one, two = "Mon, 02 Nov 2026 10:00:00 GMT", "Tue, 03 Nov 2026 10:00:00 GMT"
    d = daemon("http.io-timeout=1s")
    liar.behaviour = lambda r: r.partial(IMAGE, etag=None, modified=one)
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    assert h.pread(1000, 0) == IMAGE[:1000]
    assert liar.requests[-1].headers["if-range"] == one
    liar.behaviour = lambda r: r.partial(IMAGE[::-1], etag=None, modified=two)
    assert fails_with_eio(h)
    assert "changed" in d.slot()["error"]


def test_random_troubles_never_give_a_wrong_byte(daemon, liar):
    """Resets in the body, 503, slow starts and short bodies at random: all that is read is right."""
    d = daemon("http.stall-timeout=1s", "http.io-timeout=60s")
    d.ok(f"insert 0 {liar.url()}")
    rng = random.Random(4)

    def troubled(request):
        choice = rng.random()
        if choice < 0.05:
            request.reset()
        elif choice < 0.10:
            request.partial(IMAGE, cut=rng.randrange(1, request.range[1] - request.range[0] + 2) - 1)
        elif choice < 0.15:
            request.answer(503)
        else:
            request.partial(IMAGE)

    liar.behaviour = troubled
    h = handle(d.uri())
    for offset in range(0, len(IMAGE), 100_000):
        length = min(100_000, len(IMAGE) - offset)
        assert h.pread(length, offset) == IMAGE[offset:offset + length]
    assert d.slot()["stats"]["retries"] > 0


def test_an_outage_shorter_than_io_timeout_is_only_slow(daemon, own_nginx, ca, www):
    d = daemon(ca, "http.io-timeout=30s")
    d.ok(f"insert 0 {own_nginx.url('image.iso')}")
    h = handle(d.uri())
    h.pread(4096, 0)
    own_nginx.stop()
    threading.Timer(2, own_nginx.start).start()
    assert h.pread(4096, 3_000_000) == (www / "image.iso").read_bytes()[3_000_000:3_004_096]
    assert d.slot()["stats"]["retries"] > 0


def test_a_longer_outage_is_eio_then_heals_by_itself(daemon, own_nginx, ca, www):
    d = daemon(ca, "http.io-timeout=2s")
    d.ok(f"insert 0 {own_nginx.url('image.iso')}")
    h = handle(d.uri())
    h.pread(4096, 0)
    own_nginx.stop()
    began = time.monotonic()
    assert fails_with_eio(h, offset=3_000_000)
    assert 1.5 < time.monotonic() - began < 12
    assert d.slot()["state"] == "ready"
    own_nginx.start()
    wait_for(lambda: "the server is back" in d.log(), "the background probe")
    assert h.pread(4096, 3_000_000) == (www / "image.iso").read_bytes()[3_000_000:3_004_096]


def test_a_server_that_stalls_holds_nobody_else(daemon, liar, nginx, ca):
    d = daemon(ca, "http.io-timeout=3s", "http.stall-timeout=1s")
    d.ok(f"insert 0 {liar.url()}")
    d.ok(f"insert 1 {nginx.url('image.iso')}")
    h, other = handle(d.uri()), handle(d.uri("slot1"))
    liar.behaviour = stall
    result = []
    thread = threading.Thread(target=lambda: result.append(fails_with_eio(h)))
    thread.start()
    for i in range(20):
        began = time.monotonic()
        other.pread(4096, i * 4096)
        d.ok("status")
        assert time.monotonic() - began < 2
    thread.join()
    assert result == [True]
    began = time.monotonic()
    d.ok("eject 0")
    assert time.monotonic() - began < 10


def test_an_eject_while_the_server_is_gone_is_quick(daemon, liar):
    d = daemon()
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    liar.behaviour = stall
    thread = threading.Thread(target=lambda: fails(h))

    def fails(handle_):
        with pytest.raises(nbd.Error):
            handle_.pread(4096, 1_000_000)

    thread.start()
    wait_for(lambda: len(liar.requests) >= 2, "the read's request")
    began = time.monotonic()
    d.ok("eject 0")
    assert time.monotonic() - began < 8
    thread.join()


def test_an_insert_can_be_given_up(daemon, liar):
    d = daemon()
    liar.behaviour = stall
    with d.connect() as s:
        s.sendall(f"insert 0 {liar.url()}\n".encode())
        wait_for(lambda: d.slot()["state"] == "opening", "the insert to begin")
        d.ok("eject 0")
        assert b"error: slot0: the insert was given up" in s.recv(4096)


# --- who may read ---


def test_basic_digest_and_bearer(daemon, nginx, ca, liar):
    d = daemon(ca)
    d.ok(f"insert 0 {nginx.url('auth/image.iso')} user=alice password=CANARY-PASSWORD")
    assert len(handle(d.uri()).pread(100_000, 5_000)) == 100_000
    d.ok("eject 0")
    liar.behaviour = digest_behaviour(liar, "bob", "pw")
    assert "401" in d.error(f"insert 0 {liar.url()} user=bob password=no")
    d.ok(f"insert 0 {liar.url()} user=bob password=pw")
    assert handle(d.uri()).pread(100_000, 5_000) == IMAGE[5_000:105_000]
    d.ok("eject 0")
    liar.behaviour = lambda r: r.partial(IMAGE) if r.headers.get("authorization") == "Bearer tok" else r.answer(401)
    d.ok(f"insert 0 {liar.url()} bearer-token=tok")
    assert handle(d.uri()).pread(1000, 0) == IMAGE[:1000]


@pytest.mark.parametrize("options", ["user=u password=p", "bearer-token=tok"])
def test_credentials_stay_with_their_origin(daemon, liar, options):
    other = Liar(IMAGE)
    try:
        d = daemon()
        given = []

        def redirect(request):
            if "authorization" not in request.headers:
                return request.answer(401, [("WWW-Authenticate", 'Basic realm="x"')])
            given.append(request.headers["authorization"])
            request.answer(302, [("Location", other.url())])

        liar.behaviour = redirect
        d.ok(f"insert 0 {liar.url()} {options}")
        assert handle(d.uri()).pread(200_000, 1000) == IMAGE[1000:201_000]
        assert given and (given[0] == basic("u", "p") or given[0] == "Bearer tok")
        assert len(other.requests) > 1
        assert not any("authorization" in r.headers for r in other.requests)
    finally:
        other.stop()


def test_redirects_are_resolved_once(daemon, own_nginx, ca):
    d = daemon(ca)
    d.ok(f"insert 0 {own_nginx.url('moved/image.iso')}")
    handle(d.uri()).pread(1_000_000, 0)
    assert sum("/moved/" in line for line in own_nginx.access()) == 1


@pytest.mark.parametrize("server,version,protocol", [("h2", "2", "HTTP/2.0"), ("h2", "1.1", "HTTP/1.1"), ("h2", "auto", "HTTP/1.1"),
                                                     ("https", "2", "HTTP/1.1"), ("http", "2", "HTTP/1.1")])
def test_the_version_of_http_is_switched(daemon, own_nginx, ca, server, version, protocol):
    d = daemon(ca, f"http.http-version={version}")
    d.ok(f"insert 0 {own_nginx.url('image.iso', server)}")
    h = handle(d.uri())
    for offset in range(0, 6_000_000, 65536):
        h.pread(65536 if offset + 65536 < 6_000_000 else 1000, offset)
    d.ok("eject 0")
    lines = [line.split()[-2:] for line in own_nginx.access()]
    assert len(lines) > 3 and {line[0] for line in lines} == {protocol}
    connections = len({line[1] for line in lines})
    assert connections == 1 if protocol == "HTTP/2.0" else connections <= 16 + 1, lines


def test_ranges_are_fetched_at_a_time_on_connections_that_stay(daemon, liar):
    d = daemon("http.http-connections=4")
    d.ok(f"insert 0 {liar.url()}")
    lock, now, most = threading.Lock(), [0], [0]

    def slow(request):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        request.partial(IMAGE)

    liar.behaviour = slow
    h = handle(d.uri())
    for offset in range(0, len(IMAGE), 65536):
        h.pread(min(65536, len(IMAGE) - offset), offset)
    assert 2 <= most[0] <= 4
    assert liar.connections <= 4 + 1 < len(liar.requests)


@pytest.mark.parametrize("answer,words", [
    (lambda r: r.answer(416, [("Content-Range", "bytes */0")]), "the image is empty"),
    (lambda r: r.answer(200), "the image is empty"),
    (lambda r: r.answer(200, body=IMAGE[:100]), "does not support range requests"),
    (lambda r: r.partial(IMAGE, extra=[("Content-Encoding", "gzip")]), "Content-Encoding: gzip"),
])
def test_an_image_that_can_not_be_one_has_its_words(daemon, liar, answer, words):
    d = daemon()
    liar.behaviour = answer
    assert words in d.error(f"insert 0 {liar.url()}")


def test_a_servers_words_can_not_steer_a_terminal(daemon, liar):
    d = daemon()
    liar.behaviour = lambda r: r.partial(IMAGE, extra=[("Content-Encoding", "x\x1b[31mred\x07")])
    assert "\\x1b[31mred" in d.error(f"insert 0 {liar.url()}")
    shown = d.log() + "".join(d.ask("status", "stats"))
    assert "\\x1b[31mred" in shown and "\x1b" not in shown and "\x07" not in shown


@pytest.mark.parametrize("auth,sent", [("basic", "Basic"), ("digest", "Digest")])
def test_a_way_to_send_a_password_can_be_demanded(daemon, liar, auth, sent):
    d = daemon(f"http.http-auth={auth}", f"credentials.liar.origin={liar.url('')}", "credentials.liar.user=bob", "credentials.liar.password=pw")
    digest, both = digest_behaviour(liar, "bob", "pw"), "Basic realm=\"realm\""

    def behave(request):
        given = request.headers.get("authorization", "")
        if given == basic("bob", "pw"):
            return request.partial(IMAGE)
        if given.startswith("Digest "):
            return digest(request)
        request.answer(401, [("WWW-Authenticate", both),
                             ("WWW-Authenticate", 'Digest realm="realm", nonce="abc123", qop="auth", algorithm=MD5')])

    liar.behaviour = behave
    d.ok(f"insert 0 {liar.url()}")
    assert handle(d.uri()).pread(100_000, 5_000) == IMAGE[5_000:105_000]
    assert {r.headers["authorization"].split()[0] for r in liar.requests if "authorization" in r.headers} == {sent}


def test_only_what_the_probe_needs_is_sent(daemon, liar):
    d = daemon()
    d.ok(f"insert 0 {liar.url()}")
    assert [r.headers["range"] for r in liar.requests] [:1] == ["bytes=0-511"]
    # Nothing else but two parts that are far away, to see that they are of the same version, and a look at what it is.
    assert {r.headers["range"] for r in liar.requests[1:]} == {"bytes=1048576-1049087", "bytes=2999489-3000000",
                                                               "bytes=0-40959"}
    handle(d.uri()).pread(512, 0)
    wait_for(lambda: len(liar.requests) == 5, "the read")
    assert liar.requests[4].headers["if-range"] == '"one"'


class Proxy(socketserver.BaseRequestHandler):
    """CONNECT, or a GET with the whole URL: either way bytes are passed both ways."""

    def handle(self):
        self.server.seen.append(first := self.request.recv(65536))
        target = first.split()[1].decode()
        host, port = target.split("//")[-1].split("/")[0].split(":")
        upstream = socket.create_connection((host, int(port)))
        if first.startswith(b"CONNECT"):
            self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            upstream.sendall(first)
        back = threading.Thread(target=self.copy, args=(upstream, self.request), daemon=True)
        back.start()
        self.copy(self.request, upstream)

    @staticmethod
    def copy(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test_a_proxy_is_used_when_configured(daemon, nginx, ca, liar):
    server = Server(("127.0.0.1", 0), Proxy)
    server.seen = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        d = daemon(ca, f"http.proxy=http://127.0.0.1:{server.server_address[1]}")
        d.ok(f"insert 0 {nginx.url('image.iso')}")
        assert len(handle(d.uri()).pread(100_000, 0)) == 100_000
        assert server.seen and all(s.startswith(b"CONNECT 127.0.0.1:") for s in server.seen)
        server.seen.clear()
        d.ok(f"insert 1 {liar.url()}")
        assert handle(d.uri("slot1")).pread(100_000, 0) == IMAGE[:100_000]
        seen = [s for s in server.seen if not s.startswith(b"CONNECT ")] # of the first, which reads ahead
        assert seen and all(s.startswith(b"GET " + liar.url().encode()) for s in seen)
        assert not any(s.startswith(f"CONNECT 127.0.0.1:{liar.port} ".encode()) for s in server.seen)
    finally:
        server.shutdown()
        server.server_close()


def test_a_proxy_of_the_environment_is_not_used(daemon, liar, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    d = daemon()
    d.ok(f"insert 0 {liar.url()}")


def test_prefetch_stops_at_the_end(daemon, liar):
    d = daemon()
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    for offset in range(0, len(IMAGE), 65536):
        h.pread(min(65536, len(IMAGE) - offset), offset)
    wait_for(lambda: d.status()["cache"]["fetching"] == 0, "the prefetch to end")
    assert max(r.range[1] for r in liar.requests) == len(IMAGE) - 1
    assert sum(r.range[1] - r.range[0] + 1 for r in liar.requests) <= len(IMAGE) + 65536
