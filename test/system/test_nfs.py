"""Images on a real NFS server: the right bytes in both versions, or an error in words; the server away and back."""
import hashlib
import os
import shutil
import threading
import time

import nbd
import pytest

import ganesha
from conftest import make_image, sha, wait_for
from doors import elsewhere  # noqa: F401 (a fixture)
from test_http import fails_with_eio
from test_nbd import handle

SIZE = 20_000_000 + 77
BOTH = pytest.mark.parametrize("version", ["?version=4", "?version=3"])
pytestmark = pytest.mark.skipif(ganesha.missing() is not None, reason=str(ganesha.missing()))


@pytest.fixture
def files(tmp_path):
    """In a folder that everybody may pass through."""
    place = tmp_path / "files"
    place.mkdir()
    for folder in [place, *place.parents]:
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    make_image(place / "image.iso", SIZE)
    return place


@pytest.fixture
def server(tmp_path, files, monkeypatch):
    (tmp_path / "ganesha").mkdir()
    s = ganesha.Ganesha(tmp_path / "ganesha", files)
    monkeypatch.setenv("NBD_PROXY", s.wrapper())
    yield s
    s.close()


def read_all(d):
    h = handle(d.uri())
    digest = hashlib.sha256()
    for offset in range(0, SIZE, 4 << 20):
        digest.update(h.pread(min(4 << 20, SIZE - offset), offset))
    return digest.hexdigest()


@BOTH
def test_a_whole_image(daemon, server, files, version):
    d = daemon()
    d.ok(f"insert 0 {server.url(more=version)}")
    assert d.slot()["size"] == SIZE
    assert read_all(d) == sha(files / "image.iso")


def test_version_4_is_what_is_spoken_if_nobody_says(daemon, server, files):
    d = daemon("daemon.log-level=debug")
    d.ok(f"insert 0 {server.url()}")
    assert read_all(d) == sha(files / "image.iso")


@BOTH
def test_what_is_not_readable_is_refused_in_words(daemon, server, files, version):
    (files / "folder").mkdir()
    (files / "empty.iso").touch()
    (files / "secret.iso").write_bytes(b"x" * 4096)
    (files / "secret.iso").chmod(0o600)
    os.mkfifo(files / "pipe.iso")
    (files / "loop.iso").symlink_to("loop.iso")
    d = daemon()
    for name, words in (("missing.iso", "no such file"), ("missing/image.iso", "no such file"), ("folder", "is a folder"),
                        ("empty.iso", "image is empty"), ("pipe.iso", "a device, a socket or a pipe"),
                        ("secret.iso", "denies access"), ("loop.iso", "symbolic links"), ("image.iso/x", "not a folder")):
        error = d.error(f"insert 0 {server.url(name, version)}")
        assert words in error, (name, error)
        assert d.slot()["state"] == "empty"
    # Of root everything may be read here (no_root_squash).
    d.ok(f"insert 0 {server.url('secret.iso', version)}&uid=0&gid=0")


@BOTH
def test_links_stay_on_the_server(daemon, server, files, version):
    (files / "a").mkdir()
    (files / "a/latest.iso").symlink_to("../image.iso")
    (files / "b").symlink_to("a")
    (files / "whole.iso").symlink_to(files / "image.iso")
    (files / "outside.iso").symlink_to("/etc/passwd")
    (files / "up.iso").symlink_to("../" * 20 + "etc/passwd")
    d = daemon()
    for name in ("a/latest.iso", "b/latest.iso", "whole.iso"):
        d.ok(f"insert 0 {server.url(name, version)}")
        assert handle(d.uri()).pread(4096, 1 << 20) == (files / "image.iso").read_bytes()[1 << 20:][:4096]
        d.ok("eject 0")
    for name in ("outside.iso", "up.iso"):
        error = d.error(f"insert 0 {server.url(name, version)}")
        assert "no such file" in error or "exports no folder" in error, error


def test_urls_are_checked(daemon):
    d = daemon()
    for url, words in (("nfs://127.0.0.1", "path is missing"), ("nfs://me@127.0.0.1/a", "must not carry a user"), ("127.0.0.1:/", "path is missing"),
                       ("nfs://127.0.0.1/a?vers=3", "arguments are version"), ("nfs://127.0.0.1/a?version=2", "3 or 4"),
                       ("nfs://127.0.0.1/a user=me password=x", "takes no user"),
                       ("nfs://127.0.0.1/a writable=yes", "can't be written to")):
        assert words in d.error(f"insert 0 {url}"), url


def test_no_server_no_host_and_not_from_here(daemon, server):
    d = daemon("slot.slot1.allow-local=no")
    assert "Connection refused (check host and port)" in d.error("insert 0 nfs://127.0.0.1:9/x")
    assert "check the host's name" in d.error("insert 0 nfs://no-such-host.invalid/x")
    for host in ("127.0.0.1", "127.1", "[::1]", "0.0.0.0", "localhost", "[::ffff:127.0.0.1]", "169.254.1.1"):
        assert "allow-local" in d.error(f"insert 1 nfs://{host}/x"), host


@BOTH
def test_names_are_judged_by_the_address_that_is_spoken_to(daemon, server, files, elsewhere, version):
    d = daemon("http.allow-local=no", environment=elsewhere)
    for name in ("local.test", "169.254.7.1"):
        assert "allow-local" in d.error(f"insert 0 nfs://{name}{files}/image.iso{version}")
    for name in ("remote.test", "mixed.test"):  # of mixed.test's two addresses the other machine's is taken
        d.ok(f"insert 0 nfs://{name}{files}/image.iso{version}")
        assert read_all(d) == sha(files / "image.iso")
        d.ok("eject 0")


def test_a_slow_name_server_holds_nobody_up(daemon, server, files, elsewhere):
    d = daemon(environment=elsewhere)
    failed = threading.Thread(target=lambda: d.ask("insert 0 nfs://slow.test/x"))
    failed.start()
    wait_for(lambda: d.slot()["state"] == "opening", "the insert to begin")
    began = time.monotonic()
    d.ok(f"insert 1 {server.url()}")
    d.ok("eject 0")
    assert time.monotonic() - began < 5
    failed.join()


@BOTH
def test_a_server_that_is_started_anew_is_only_late(daemon, server, files, version):
    d = daemon("http.io-timeout=60s", "http.stall-timeout=2s")
    d.ok(f"insert 0 {server.url(more=version)}")
    result, before = [], d.slot()["stats"]["requests"]
    reader = threading.Thread(target=lambda: result.append(read_all(d)))
    reader.start()
    wait_for(lambda: d.slot()["stats"]["requests"] > before, "the reader to begin")
    server.stop()
    time.sleep(1)  # it is away
    server.start()
    reader.join(60)
    assert result == [sha(files / "image.iso")]
    assert "nfs: the server is back" in d.log()


@BOTH
def test_a_server_that_stays_away_costs_io_timeout_and_is_found_again(daemon, server, files, version):
    d = daemon("http.io-timeout=2s", "http.readahead=no")
    d.ok(f"insert 0 {server.url(more=version)}")
    h = handle(d.uri())
    image = (files / "image.iso").read_bytes()
    assert h.pread(4096, 0) == image[:4096]
    server.stop()
    began = time.monotonic()
    assert fails_with_eio(h, offset=1_000_000)
    assert 1.5 < time.monotonic() - began < 6
    assert "Connection refused" in d.slot()["error"]
    server.start()
    wait_for(lambda: "nfs: the server is back" in d.log(), "the server to be found again")
    assert h.pread(4096, 1_000_000) == image[1_000_000:][:4096]


@BOTH
def test_a_changed_file_is_an_error_for_good(daemon, server, files, version):
    d = daemon("http.io-timeout=2s", "http.readahead=no")
    d.ok(f"insert 0 {server.url(more=version)}")
    h = handle(d.uri())
    first = (files / "image.iso").read_bytes()[:4096]
    assert h.pread(4096, 0) == first
    time.sleep(0.05)  # a file's times are those of the kernel's clock tick
    with open(files / "image.iso", "r+b") as f:  # in place: of the same size, with the same handle
        f.seek(10_000_000)
        f.write(b"changed")
    assert fails_with_eio(h, offset=10_000_000)
    assert "changed on the server (eject" in d.slot()["error"]
    assert h.pread(4096, 0) == first  # what is cached is of the image that was inserted
    d.ok("eject 0")
    d.ok(f"insert 0 {server.url(more=version)}")
    assert handle(d.uri()).pread(7, 10_000_000) == b"changed"


@BOTH
def test_a_replaced_or_removed_file_is_an_error(daemon, server, files, version):
    d = daemon("http.io-timeout=2s", "http.readahead=no")
    d.ok(f"insert 0 {server.url(more=version)}")
    h = handle(d.uri())
    assert h.pread(4096, 0) == (files / "image.iso").read_bytes()[:4096]
    make_image(files / "new", SIZE, seed=5)
    shutil.copystat(files / "image.iso", files / "new")
    os.rename(files / "new", files / "image.iso")
    assert fails_with_eio(h, offset=5_000_000)
    os.unlink(files / "image.iso")
    assert fails_with_eio(h, offset=6_000_000)
    assert d.slot()["error"]


@BOTH
def test_an_eject_does_not_wait_for_a_server_that_hangs(daemon, server, version):
    d = daemon("http.io-timeout=60s", "http.stall-timeout=60s", "http.readahead=no")
    d.ok(f"insert 0 {server.url(more=version)}")
    h = handle(d.uri())
    server.hang()
    read = h.aio_pread(nbd.Buffer(4096), 3_000_000)
    d.status()  # it has begun
    began = time.monotonic()
    d.ok("eject 0")
    assert time.monotonic() - began < 3
    with pytest.raises(nbd.Error):
        while not h.aio_command_completed(read) and time.monotonic() - began < 10:
            h.poll(100)
    server.go_on()
    d.ok(f"insert 0 {server.url(more=version)}")


@BOTH
def test_a_hang_is_noticed_after_stall_timeout_and_waited_out(daemon, server, files, version):
    d = daemon("http.io-timeout=30s", "http.stall-timeout=1s", "http.readahead=no")
    d.ok(f"insert 0 {server.url(more=version)}")
    h = handle(d.uri())
    server.hang()
    threading.Timer(3, server.go_on).start()
    began = time.monotonic()
    assert h.pread(4096, 7_000_000) == (files / "image.iso").read_bytes()[7_000_000:][:4096]
    assert 2.5 < time.monotonic() - began < 20
    assert d.slot()["stats"]["retries"] > 0 and "within stall-timeout" in d.log()


def test_an_insert_from_a_server_that_hangs_ends(daemon, server):
    d = daemon("http.connect-timeout=1s", "http.stall-timeout=1s", "http.io-timeout=3s")
    server.hang()
    began = time.monotonic()
    error = d.error(f"insert 0 {server.url()}")
    assert "stall-timeout" in error and time.monotonic() - began < 8, error
    server.go_on()


def test_a_writable_layer_on_top(daemon, server, files):
    d = daemon("slot.slot1.overlay=memory")
    d.ok(f"insert 1 {server.url()} writable=yes")
    h = handle(d.uri("slot1"))
    h.pwrite(b"mine", 1000)
    expected = bytearray((files / "image.iso").read_bytes()[:4096])
    expected[1000:1004] = b"mine"
    assert h.pread(4096, 0) == bytes(expected)
    assert (files / "image.iso").read_bytes()[1000:1004] != b"mine"
