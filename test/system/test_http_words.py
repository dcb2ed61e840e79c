"""What is said of servers, proxies, certificates and logins that are not as they should be: who it was, and what to do."""
import contextlib
import random
import re
import socket
import socketserver
import threading
import time

import nbd
import pytest

from conftest import Nginx, at_once, has_protocol, openssl
from doors import insert
from ftpd import FtpLiar
from liar import Liar, liar  # noqa: F401 (liar is a fixture)
from redfish_client import own, users  # noqa: F401 (fixtures)
from test_nbd import handle

IMAGE = random.Random(15).randbytes(1_000_001)


class Say:
    """A server that says one thing, whatever it is told."""

    def __init__(self, text, at_once=True):
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError):
                    if not at_once:
                        self.request.recv(4096)
                    self.request.sendall(text)
                    while self.request.recv(4096):
                        pass

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


# --- what does not speak what the URL says ---


def test_https_to_a_port_without_tls_is_for_good(own, nginx):
    d = own()
    outcome = insert(d, "InsertMedia", f"https://127.0.0.1:{nginx.port['http']}/image.iso")
    assert outcome.status == 400 and "the server speaks no TLS there" in outcome.words, outcome
    with Say(b"SSH-2.0-OpenSSH_9.2\r\n") as ssh:
        assert "speaks no TLS there" in d.error(f"insert 0 https://127.0.0.1:{ssh.port}/image.iso")
        assert "speaks no HTTP" in d.error(f"insert 0 http://127.0.0.1:{ssh.port}/image.iso")
    assert "a port of https" in d.error(f"insert 0 http://127.0.0.1:{nginx.port['https']}/image.iso")


def test_nor_do_ftps_and_sftp_pretend(daemon):
    d = daemon("http.verify-certificate=no", "http.io-timeout=4s")
    server = FtpLiar(IMAGE)
    try:
        assert "speaks no TLS there" in d.error(f"insert 0 ftps://127.0.0.1:{server.port}/image.iso")
    finally:
        server.stop()
    with Say(b"HTTP/1.1 400 Bad Request\r\n\r\n") as web:
        assert "does not speak FTP" in d.error(f"insert 0 ftp://127.0.0.1:{web.port}/image.iso")
        assert "SSH" in d.error(f"insert 0 sftp://127.0.0.1:{web.port}/image.iso user=u password=p")


# --- who was silent ---


def test_silence_is_called_silence(daemon, liar):
    schemes = ["http", "https", "ftp", *(s for s in ("sftp", "smb") if has_protocol(s)), "nfs"]
    d = daemon("http.connect-timeout=1s", "http.stall-timeout=1s", "http.io-timeout=4s", "http.readahead=no",
               *(f"slot.{scheme}.attach=socket" for scheme in schemes))
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        port = silent.getsockname()[1]
        login = " user=u password=p"
        said = dict(zip(schemes, at_once(lambda scheme: d.error(f"insert {scheme} {scheme}://127.0.0.1:{port}/share/image.iso" +
                                                                (login if scheme == "sftp" else "")), schemes)))
    assert "was not ready within connect-timeout" in said["https"] and "did not answer within stall-timeout" in said["http"]
    for scheme, words in said.items():
        assert re.search(r"within (connect|stall)-timeout \(is this .*port.*raise that\)", words), (scheme, words)
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    liar.behaviour = lambda r: time.sleep(30)  # as long as nobody waits
    with pytest.raises(nbd.Error):
        h.pread(4096, 500_000)
    assert "did not answer within stall-timeout" in d.log() and "SSL" not in d.log()


# --- proxies ---


def test_a_proxy_that_is_down_is_called_one(daemon, liar):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        d = daemon(f"http.proxy=http://127.0.0.1:{s.getsockname()[1]}", "http.io-timeout=1s")
        for url in (liar.url(), "https://image.example/image.iso"):
            assert "the proxy: could not connect" in d.error(f"insert 0 {url}")
    e = daemon("http.proxy=no-such-proxy.invalid:3128", "http.io-timeout=1s")
    assert "the proxy: could not resolve host: no-such-proxy.invalid" in e.error(f"insert 0 {liar.url()}")


@pytest.mark.parametrize("status,words", [("407 Who", "check the proxy's credentials"), ("403 No", "does not allow that server"),
                                          ("502 Bad", "does not reach the server")])
def test_so_is_one_that_refuses(daemon, status, words):
    with Say(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode(), at_once=False) as proxy:
        d = daemon(f"http.proxy=http://127.0.0.1:{proxy.port}", "http.io-timeout=2s")
        error = d.error("insert 0 https://image.example/image.iso")
        assert f"the proxy answered {status[:3]} to CONNECT" in error and words in error, error


# --- certificates ---


class Early(Nginx):
    """Its certificate is not valid yet."""

    def __init__(self, place, www, tls):
        pair = place / "tls"
        pair.mkdir()
        for name in tls.iterdir():
            if name.suffix in (".pem", ".key"):
                (pair / name.name).write_bytes(name.read_bytes())
        (pair / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=early", "-keyout", pair / "good.key", "-out", pair / "csr")
        openssl("ca", "-batch", "-notext", "-config", tls / "ca.conf", "-cert", tls / "ca.pem", "-keyfile", tls / "ca.key",
                "-startdate", "20480101000000Z", "-enddate", "20490101000000Z", "-extfile", pair / "ext", "-in", pair / "csr",
                "-out", pair / "good.pem")
        super().__init__(place, www, pair)


def test_dates_are_told_with_the_clock_that_judged_them(daemon, tmp_path, www, certificates, ca, nginx):
    d = daemon(ca)
    year = time.strftime("%Y-", time.gmtime())
    error = d.error(f"insert 0 {nginx.url('image.iso', 'expired')}")
    assert f"certificate has expired by this machine's clock, which says {year}" in error
    (tmp_path / "early").mkdir()
    early = Early(tmp_path / "early", www, certificates)
    try:
        error = d.error(f"insert 0 {early.url('image.iso')}")
        assert f"is not yet valid by this machine's clock, which says {year}" in error and "set the clock" in error, error
    finally:
        early.stop()


# --- logins ---


def test_401_says_which_login_was_sent(daemon, liar):
    d = daemon("http.io-timeout=1s", "http.readahead=no")
    ask = [("WWW-Authenticate", 'Basic realm="x"')]
    liar.behaviour = lambda r: r.answer(401, ask)
    assert "there are none" in d.error(f"insert 0 {liar.url()}")
    assert "they are wrong" in d.error(f"insert 0 {liar.url()} user=u password=p")
    assert "bearer token is wrong" in d.error(f"insert 0 {liar.url()} bearer-token=t")
    other = Liar(IMAGE)
    try:
        other.behaviour = lambda r: r.answer(302, [("Location", liar.url())])
        assert "for another server" in d.error(f"insert 0 {other.url()} bearer-token=t")
    finally:
        other.stop()


def test_403_of_a_url_that_may_have_expired(daemon, liar):
    d = daemon()
    liar.behaviour = lambda r: r.answer(403)
    assert "or the URL has expired" in d.error(f"insert 0 {liar.url('image.iso?X-Amz-Signature=a')}")
    assert "expired" not in d.error(f"insert 0 {liar.url()}")
