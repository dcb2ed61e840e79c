"""Writes that leave the image as it is: the overlay, in memory and in a file."""
import subprocess

import nbd
import pytest

from conftest import make_image, sha, wait_for
from test_nbd import handle

SIZE = 8 << 20


@pytest.fixture
def image(folder):
    return make_image(folder / "image", SIZE, seed=3)


def start(daemon, folder, kind, *more):
    return daemon(f"slot.slot1.overlay={kind}", f"slot.slot1.overlay-directory={folder}", "slot.slot1.overlay-size=2M", *more)


@pytest.mark.smoke
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_writes_are_read_back_and_the_image_stays(daemon, folder, image, kind):
    before = sha(image)
    d = start(daemon, folder, kind)
    assert d.ok(f"insert 1 {image}")[-1].endswith("writable")
    h = handle(d.uri("slot1"))
    h.pwrite(b"changed", 4095)
    h.pwrite(b"x" * 65536, 1 << 20)
    h.flush()
    want = bytearray(image.read_bytes())
    want[4095:4102] = b"changed"
    want[1 << 20:(1 << 20) + 65536] = b"x" * 65536
    assert h.pread(SIZE, 0) == bytes(want)
    assert d.slot(1)["overlay_used"] == 65536 + 2 * 4096 and d.slot(1)["overlay_bound"] == 2 << 20
    d.ok("eject 1")
    assert sha(image) == before
    assert not list(folder.glob("*.overlay"))
    d.ok(f"insert 1 {image}")
    assert handle(d.uri("slot1")).pread(SIZE, 0) == image.read_bytes()


def test_an_image_on_a_web_server_can_be_written_to(daemon, folder, nginx, ca, www):
    d = start(daemon, folder, "memory", ca)
    d.ok(f"insert 1 {nginx.url('image.iso')}")
    h = handle(d.uri("slot1"))
    h.pwrite(b"here", 12345)
    content = bytearray((www / "image.iso").read_bytes())
    content[12345:12349] = b"here"
    assert h.pread(len(content), 0) == bytes(content)
    assert "read-only" in d.ok("eject 1")[-1] or d.ok(f"insert 1 {nginx.url('image.iso')} writable=no")[-1].endswith("read-only")


def test_fio_verifies_an_overlay(daemon, folder, image):
    d = start(daemon, folder, "file", "slot.slot1.overlay-size=16M")
    d.ok(f"insert 1 {image}")
    subprocess.run(["fio", "--name=v", "--ioengine=nbd", f"--uri={d.uri('slot1')}", "--rw=randwrite", "--bsrange=512-64k",
                    "--size=8m", "--verify=crc32c", "--iodepth=32", "--output=/dev/null"], check=True, timeout=120, cwd=d.folder)


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_full_overlay_refuses_writes_and_goes_on(daemon, folder, image, kind):
    d = start(daemon, folder, kind)
    d.ok(f"insert 1 {image}")
    h = handle(d.uri("slot1"))
    with pytest.raises(nbd.Error) as caught:
        for i in range(64):
            h.pwrite(b"z" * 65536, i * 65536)
    assert caught.value.errno == "ENOSPC"
    assert h.pread(65536, 0) == b"z" * 65536
    assert h.pread(65536, SIZE - 65536) == image.read_bytes()[-65536:]
    h.pwrite(b"again", 0)  # what has its place can still be written
    assert d.log().count("overlay") >= 1 and d.log().count("full") == 1


def test_a_kept_overlay_goes_on_at_the_next_insert(daemon, folder, image):
    d = start(daemon, folder, "file", "slot.slot1.overlay-keep=yes")
    d.ok(f"insert 1 {image}")
    handle(d.uri("slot1")).pwrite(b"kept", 100)
    d.ok("eject 1")
    assert len(list(folder.glob("slot1-*.overlay"))) == 1
    d.ok(f"insert 1 {image}")
    assert handle(d.uri("slot1")).pread(4, 100) == b"kept"
    d.ok("eject 1")
    make_image(image, SIZE + 4096, seed=4)  # another image of that name
    assert "overlay" in d.error(f"insert 1 {image}")


def test_a_killed_daemon_loses_no_answered_write(daemon, folder, image):
    d = start(daemon, folder, "file")
    d.ok(f"insert 1 {image}")
    h = handle(d.uri("slot1"))
    for i in range(100):
        h.pwrite(bytes([i]) * 1000, i * 8192)
    d.kill()
    d.__init__(d.folder, "slot.slot1.overlay=file", f"slot.slot1.overlay-directory={folder}", "slot.slot1.overlay-size=2M")
    wait_for(lambda: d.slot(1)["state"] == "ready", "the medium of before")
    h = handle(d.uri("slot1"))
    for i in range(100):
        assert h.pread(1000, i * 8192) == bytes([i]) * 1000
    d.ok("eject 1")
    assert not list(folder.glob("*.overlay"))


def test_an_overlay_in_memory_is_not_gone_on_with(daemon, folder, image):
    d = start(daemon, folder, "memory")
    d.ok(f"insert 1 {image}")
    assert "in memory only" in d.error("quit --keep")
    d.kill()
    d.__init__(d.folder)
    wait_for(lambda: "in memory only" in d.log(), "the warning")
    assert d.slot(1)["state"] == "empty"
