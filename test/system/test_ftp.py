"""Images by FTP and FTPS from real servers: whole images, ranges, refusals with their reasons, servers that go and come back."""
import hashlib
import os
import random
import signal
import time

import nbd
import pytest

from conftest import at_once, make_image, read_while_away, sha, wait_for
from ftpd import PASSWORD, USER, FtpLiar, PyFtpd, Vsftpd
from test_http import fails_with_eio
from test_nbd import handle

SIZE = 6_000_123
SERVERS = {"pyftpdlib": PyFtpd, "vsftpd": Vsftpd}
LOGIN = f"user={USER} password={PASSWORD}"


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "sub dir").mkdir(parents=True)
    make_image(root / "image.iso", SIZE)
    make_image(root / "sub dir" / "ü#1.iso", 70_000, seed=3)
    (root / "empty.iso").touch()
    for path in (tmp_path, root):
        path.chmod(0o755)
    return root


@pytest.fixture
def ftpd(tmp_path, root, certificates):
    """A function that starts servers."""
    started = []

    def start(kind=PyFtpd, tls=None, pair="good", **more):
        place = tmp_path / f"server{len(started)}"
        place.mkdir(mode=0o755)
        started.append(kind(place, root, tls, (certificates / f"{pair}.pem", certificates / f"{pair}.key") if tls else None, **more))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def digest(uri, size=SIZE, step=300_000):
    h, digest = handle(uri), hashlib.sha256()
    assert h.get_size() >= size
    for at in range(0, size, step):
        digest.update(h.pread(min(step, size - at), at))
    return digest.hexdigest()


# --- reading ---


@pytest.mark.smoke
@pytest.mark.parametrize("tls", [None, "explicit", "implicit"])
@pytest.mark.parametrize("kind", SERVERS)
def test_a_whole_image(daemon, ftpd, root, ca, kind, tls):
    d = daemon(ca, "http.ftp-tls=required" if tls else "http.ftp-tls=no")
    server = ftpd(SERVERS[kind], tls)
    d.ok(f"insert 0 {server.url()}")
    assert digest(d.uri()) == sha(root / "image.iso")


@pytest.mark.parametrize("tls", [None, "explicit"])
def test_parallel_ranges_anywhere(daemon, ftpd, root, ca, tls):
    d = daemon(ca, "http.readahead=no", "daemon.cache-size=16M")
    server = ftpd(PyFtpd, tls)
    d.ok(f"insert 0 {server.url()}")
    image, wrong = (root / "image.iso").read_bytes(), []

    def read(seed):
        rng, h = random.Random(seed), handle(d.uri())
        for _ in range(12):
            at = rng.randrange(SIZE - 200_000)
            length = rng.choice([512, 4096, 65536, 200_000])
            if h.pread(length, at) != image[at : at + length]:
                wrong.append((at, length))

    at_once(read, range(6))
    assert not wrong


def test_logins_and_paths(daemon, ftpd, root):
    d = daemon()
    server = ftpd(anonymous=False)
    d.ok(f"insert 0 {server.url('sub%20dir/%C3%BC%231.iso')} {LOGIN}")
    assert handle(d.uri()).pread(70_000, 0) == (root / "sub dir" / "ü#1.iso").read_bytes()
    d.ok("eject 0")
    d.ok(f"insert 0 {server.url('%2Fimage.iso')} {LOGIN}")
    assert PASSWORD not in d.log() and PASSWORD not in "".join(d.ask("status --json"))


def test_without_epsv(daemon, ftpd, root):
    d = daemon()
    server = ftpd(without=["EPSV"])
    d.ok(f"insert 0 {server.url()}")
    assert handle(d.uri()).pread(1000, 5_000_000) == (root / "image.iso").read_bytes()[5_000_000:5_001_000]


def test_without_mdtm(daemon, ftpd):
    d = daemon()
    server = ftpd(without=["MDTM"])
    d.ok(f"insert 0 {server.url()}")
    assert len(handle(d.uri()).pread(1000, 0)) == 1000


# --- refusals ---


def test_refusals_have_reasons(daemon, ftpd, root):
    d = daemon()
    server = ftpd(anonymous=False)
    (root / "secret.iso").write_bytes(b"x" * 1000)
    for path, login, words in [("nothing.iso", LOGIN, "no such file"), ("image.iso", f"user={USER} password=wrong", "refused the login"),
                               ("image.iso", "", "refused the login"), ("sub%20dir", LOGIN, "550"), ("empty.iso", LOGIN, "empty")]:
        assert words in d.error(f"insert 0 {server.url(path)} {login}"), path
        assert d.slot()["state"] == "empty"
    server.stop()
    assert "check host and port" in d.error(f"insert 0 {server.url()}")
    assert "resolve" in d.error("insert 0 ftp://no-such-host.invalid/x")


@pytest.mark.parametrize("missing,words", [("SIZE", "SIZE"), ("REST", "REST")])
def test_servers_that_can_not_serve_ranges(daemon, ftpd, missing, words):
    d = daemon()
    assert words in d.error(f"insert 0 {ftpd(without=[missing]).url()}")


def test_urls_that_are_refused(daemon):
    d = daemon()
    for url in ("ftp://h/x%0d%0aDELE%20y", "ftp://h/x%0aX", "ftp://h/%00", "sftp://h/x%00y", "ftp://h/x;type=a", "ftp://h/x;type=i",
                "ftp://u:p@h/x", "sftp://u@h/x", "ftp://h/", "ftp://h/dir/", "ftp://h/x?y", "ftps://h/x#y"):
        assert "error: slot0: " in d.error(f"insert 0 {url}"), url
    assert "user= and password=" in d.error("insert 0 ftp://u:p@h/x")
    assert "control character" in d.error("insert 0 ftp://h/x%0d%0aDELE%20y")


def test_images_do_not_come_from_this_machine(daemon):
    server = FtpLiar(b"x")
    d = daemon("http.allow-local=no")
    for url in (server.url(), f"ftp://localhost:{server.port}/x", f"ftps://[::1]:{server.port}/x", f"sftp://127.0.0.1:{server.port}/x"):
        assert "allow-local" in d.error(f"insert 0 {url} user=x password=y")
    assert server.connections == 0
    server.stop()


def test_a_proxy_is_for_http(daemon, ftpd):
    d = daemon("http.proxy=http://127.0.0.1:1")
    assert "proxy" in d.error(f"insert 0 {ftpd().url()}")


# --- TLS ---


def test_certificates_are_checked(daemon, ftpd, ca):
    for tls in ("explicit", "implicit"):
        good, wrong, expired = ftpd(PyFtpd, tls), ftpd(PyFtpd, tls, "wrong"), ftpd(PyFtpd, tls, "expired")
        d = daemon(ca)
        d.ok(f"insert 0 {good.url()}")
        d.ok("eject 0")
        assert "certificate" in d.error(f"insert 0 {wrong.url()}")
        assert "expired" in d.error(f"insert 0 {expired.url()}")
        d.ok(f"insert 0 {wrong.url()} verify=no")
        assert "ca-file" in daemon().error(f"insert 0 {good.url()}")


def test_tls_may_be_required(daemon, ftpd):
    plain = ftpd(without=["AUTH"])
    daemon().ok(f"insert 0 {plain.url()}")
    assert "TLS" in daemon("http.ftp-tls=required").error(f"insert 0 {plain.url()}")


def test_a_server_may_require_it_too(daemon, ftpd, ca):
    server = ftpd(PyFtpd, "explicit", control_required=True)
    d = daemon(ca)
    d.ok(f"insert 0 {server.url()}")
    assert len(handle(d.uri()).pread(1000, 1000)) == 1000
    assert "login" in daemon("http.ftp-tls=no").error(f"insert 0 {server.url()}")


# --- trouble ---


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_that_comes_back_is_gone_on_with(daemon, ftpd, root, kind):
    d = daemon("http.readahead=no")
    server = ftpd(SERVERS[kind])
    image = (root / "image.iso").read_bytes()
    d.ok(f"insert 0 {server.url()}")
    h = handle(d.uri())
    assert h.pread(100_000, 0) == image[:100_000]
    read_while_away(d, server, h, image)
    wait_for(lambda: "the server is back" in d.log(), "the log")


def test_a_server_that_stays_away_is_eio_and_then_well_again(daemon, ftpd, root):
    d = daemon("http.io-timeout=1s", "http.readahead=no")
    server = ftpd()
    d.ok(f"insert 0 {server.url()}")
    h = handle(d.uri())
    server.stop()
    assert fails_with_eio(h)
    assert d.slot()["error"]
    server.start()

    def reads():
        try:
            return h.pread(4096, 2_000_000) == (root / "image.iso").read_bytes()[2_000_000:2_004_096]
        except nbd.Error:
            return False

    wait_for(reads, "a read", 20)


@pytest.mark.parametrize("change", ["other size", "other time"])
def test_a_file_that_changed_is_not_mixed(daemon, ftpd, root, change):
    d = daemon("http.io-timeout=2s", "http.readahead=no")
    server = ftpd()
    d.ok(f"insert 0 {server.url()}")
    h = handle(d.uri())
    assert len(h.pread(4096, 0)) == 4096
    other = make_image(root / "new", SIZE + (1 if change == "other size" else 0), seed=9)
    os.utime(other, (1_600_000_000, 1_600_000_000))
    other.rename(root / "image.iso")
    time.sleep(4)  # what stands open of the old file is closed, and what was asked is asked again
    assert fails_with_eio(h, 4096, 5_000_000)
    assert "changed" in d.slot()["error"]


def test_an_eject_while_the_server_hangs(daemon, ftpd):
    d = daemon("http.readahead=no")
    server = ftpd()
    d.ok(f"insert 0 {server.url()}")
    h = handle(d.uri())
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        waiting = [h.aio_pread(nbd.Buffer(4096), 4_000_000)]
        d.status()  # it has begun
        began = time.monotonic()
        assert d.status()
        assert time.monotonic() - began < 1
        d.ok("eject 0")
        assert time.monotonic() - began < 4
        assert waiting
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
