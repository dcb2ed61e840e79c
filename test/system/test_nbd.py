"""The NBD export, read and written by other people's clients."""
import os
import pathlib
import random
import re
import socket
import struct
import subprocess
import time

import nbd
import pytest

from conftest import SANITIZED, at_once, binary, make_image, sha, wait_for


def handle(uri, **options):
    h = nbd.NBD()
    if options.get("allocation"):
        h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    if options.get("simple"):
        h.set_request_structured_replies(False)
    h.connect_uri(uri.replace(":///", f":///{options.get('name', '')}"))
    return h


def out(*command):
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.mark.smoke
@pytest.mark.parametrize("server,version", [("http", "auto"), ("https", "auto"), ("h2", "2"), ("https", "1.1")])
def test_nbdcopy_equals_the_image(daemon, nginx, ca, www, folder, server, version):
    d = daemon(ca, f"http.http-version={version}")
    d.ok(f"insert 0 {nginx.url('image.iso', server)}")
    subprocess.run(["nbdcopy", d.uri(), folder / "copy"], check=True)
    assert sha(folder / "copy") == sha(www / "image.iso")
    assert d.slot()["error"] is None


def test_local_file_and_qemu_img(daemon, www, folder):
    d = daemon()
    d.ok(f"insert 0 {www}/image.iso")
    d.ok(f"insert 1 file://{www}/other.iso")
    assert "virtual size: 5.72 MiB" in out("qemu-img", "info", d.uri())
    assert "identical" in out("qemu-img", "compare", "-f", "raw", "-F", "raw", d.uri("slot1"), www / "other.iso")


def test_nbdinfo_shows_size_flags_and_list(daemon, nginx, ca):
    d = daemon(ca)
    d.ok(f"insert 0 {nginx.url('image.iso')}")
    assert out("nbdinfo", "--size", d.uri()).strip() == "6000123"
    info = out("nbdinfo", "--list", d.uri())
    for fact in ('export="slot0"', "is_read_only: true", "can_multi_conn: true", "can_cache: true", "base:allocation",
                 "block_size_maximum: 33554432"):
        assert fact in info
    assert out("nbdinfo", "--map", d.uri()).split() == ["0", "6000123", "0", "data"]


def test_holes_of_a_local_file_are_told(daemon, folder):
    image = folder / "sparse"
    with open(image, "wb") as f:
        f.truncate(8 << 20)
        f.seek(4 << 20)
        f.write(b"x" * 65536)
    d = daemon()
    d.ok(f"insert 0 {image}")
    assert "hole,zero" in out("nbdinfo", "--map", d.uri())
    subprocess.run(["nbdcopy", d.uri(), folder / "copy"], check=True)
    assert sha(image) == sha(folder / "copy")


def test_the_end_of_a_5_gib_image(daemon, nginx, ca):
    d = daemon(ca)
    d.ok(f"insert 0 {nginx.url('sparse.iso')}")
    h = handle(d.uri())
    assert h.get_size() == 5 << 30
    assert h.pread(7, (5 << 30) - 7) == b"the end"
    assert h.pread(4096, (4 << 30) - 2048) == bytes(4096)


@pytest.mark.parametrize("simple", [False, True])
def test_random_reads_in_flight_equal_the_image(daemon, nginx, ca, www, simple):
    d = daemon(ca)
    d.ok(f"insert 0 {nginx.url('image.iso')}")
    image = (www / "image.iso").read_bytes()
    h = handle(d.uri(), simple=simple)
    rng, flying = random.Random(5), []
    for _ in range(600):
        offset = rng.randrange(len(image))
        buffer = nbd.Buffer(min(rng.choice((1, 512, 4096, 70000, 300000)), len(image) - offset))
        flying.append((h.aio_pread(buffer, offset), offset, buffer))
        while len(flying) >= 64:
            h.poll(-1)
            for item in [f for f in flying if h.aio_command_completed(f[0])]:
                flying.remove(item)
                assert item[2].to_bytearray() == image[item[1]:item[1] + len(item[2].to_bytearray())]
    while flying:
        h.poll(-1)
        for item in [f for f in flying if h.aio_command_completed(f[0])]:
            flying.remove(item)
            assert item[2].to_bytearray() == image[item[1]:item[1] + len(item[2].to_bytearray())]


def test_structured_reads_df_and_block_status(daemon, nginx, ca, www):
    d = daemon(ca)
    d.ok(f"insert 0 {nginx.url('image.iso')}")
    h = handle(d.uri(), allocation=True)
    chunks, extents = [], []
    data = h.pread_structured(100000, 77, lambda b, o, s, e: chunks.append((o, s)), nbd.CMD_FLAG_DF)
    assert data == (www / "image.iso").read_bytes()[77:100077] and len(chunks) == 1
    h.block_status(1 << 20, 0, lambda c, o, e, err: extents.extend(e) or 0, nbd.CMD_FLAG_REQ_ONE)
    assert extents == [1 << 20, 0]


def test_bad_requests_get_the_right_error(daemon, nginx, ca):
    d = daemon(ca)
    d.ok(f"insert 0 {nginx.url('image.iso')}")
    h = handle(d.uri())
    h.set_strict_mode(0)
    for call, error in (
            (lambda: h.pread(1, 6000123), "EINVAL"),
            (lambda: h.pread(10, 6000120), "EINVAL"),
            (lambda: h.pwrite(b"x" * 512, 0), "EPERM"),
            (lambda: h.trim(512, 0), "EPERM"),
            (lambda: h.zero(512, 0), "EPERM"),
            (lambda: h.pread((32 << 20) + 1, 0), "EINVAL"),
    ):
        with pytest.raises(nbd.Error) as caught:
            call()
        assert caught.value.errno == error
    h.flush()
    assert len(h.pread(123, 6000000)) == 123


def test_unknown_exports_and_empty_slots(daemon, nginx, ca):
    d = daemon(ca)
    with pytest.raises(nbd.Error):
        handle(d.uri())
    assert "export=" not in subprocess.run(["nbdinfo", "--list", d.uri()], capture_output=True, text=True).stdout
    d.ok(f"insert 0 {nginx.url('image.iso')}")
    with pytest.raises(nbd.Error):
        handle(d.uri(), name="other")
    for name in ("slot0", "vm0", ""):
        assert handle(d.uri(), name=name).get_size() == 6000123
    for name in ("vm1", "vm", "vm00", "VM0", "vm0 "):
        with pytest.raises(nbd.Error):
            handle(d.uri(), name=name.replace(" ", "%20"))


def ranges(nginx, path, since):
    return [line.split('"')[1] for line in nginx.access()[since:] if f" {path} 206" in line]


def test_cache_command_saves_the_later_fetch(daemon, own_nginx, ca):
    d = daemon(ca)
    d.ok(f"insert 0 {own_nginx.url('image.iso')}")
    h = handle(d.uri())
    h.cache(1 << 20, 1 << 20)
    wait_for(lambda: d.slot()["cached"] >= 1 << 20, "the hint's fetch")
    before = len(ranges(own_nginx, "/image.iso", 0))
    h.pread(1 << 20, 1 << 20)
    for range in ranges(own_nginx, "/image.iso", 0)[before:]: # what is ahead may be asked for
        first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", range).groups())
        assert last < 1 << 20 or first >= 2 << 20


def test_only_what_is_read_is_fetched(daemon, own_nginx, ca):
    d = daemon(ca)
    d.ok(f"insert 0 {own_nginx.url('sparse.iso')}")
    h = handle(d.uri())
    for i in range(20):
        h.pread(4096, i * 200 * 1024 * 1024 + i * i * 4096)
    assert d.slot()["stats"]["bytes"] <= 20 * 65536 + 1


def test_two_slots_with_one_url_share_blocks(daemon, own_nginx, ca):
    d = daemon(ca)
    d.ok(f"insert 0 {own_nginx.url('image.iso')}")
    d.ok(f"insert 1 {own_nginx.url('image.iso')}")
    def fetched(): # of the first MiB; what lies behind it may be fetched ahead
        return [r for r in ranges(own_nginx, "/image.iso", 0) if int(r[len("bytes="):].split("-")[0]) < 1 << 20]

    first = handle(d.uri()).pread(1 << 20, 0)
    before = fetched()
    d.ok("eject 0")
    h = handle(d.uri("slot1"))
    assert h.pread(1 << 20, 0) == first
    assert fetched() == before


def test_eject_ends_clients_and_prefetch(daemon, nginx, ca):
    d = daemon(ca)
    d.ok(f"insert 0 {nginx.url('image.iso')}")
    h = handle(d.uri())
    h.pread(65536, 0)
    d.ok("eject 0")
    with pytest.raises(nbd.Error):
        h.pread(65536, 65536)
    cache = d.status()["cache"]
    assert (cache["live"], cache["fetching"], cache["images"]) == (0, 0, 0)


# --- writing ---


@pytest.fixture
def disk(daemon, folder):
    image = make_image(folder / "disk", 8 << 20, seed=9)
    d = daemon()
    d.ok(f"insert 1 {image} writable=yes")
    return d, image


def test_writes_reach_the_file(disk):
    d, image = disk
    h, other = handle(d.uri("slot1")), handle(d.uri("slot1"))
    model = bytearray(image.read_bytes())
    rng = random.Random(3)
    for _ in range(100):
        offset, length = rng.randrange(7 << 20), rng.randrange(1, 100000)
        data = rng.randbytes(length)
        h.pwrite(data, offset, nbd.CMD_FLAG_FUA if rng.random() < 0.2 else 0)
        model[offset:offset + length] = data
        assert other.pread(length, offset) == data  # multi-conn: seen at once
    h.zero(1 << 20, 12345)
    model[12345:12345 + (1 << 20)] = bytes(1 << 20)
    h.zero(4096, 0, nbd.CMD_FLAG_NO_HOLE)
    model[:4096] = bytes(4096)
    h.trim(65536, 4 << 20)
    h.flush()
    trimmed = h.pread(65536, 4 << 20)
    model[4 << 20:(4 << 20) + 65536] = trimmed
    assert image.read_bytes() == model
    with pytest.raises(nbd.Error) as caught:
        h.set_strict_mode(0)
        h.pwrite(b"xx", (8 << 20) - 1)
    assert caught.value.errno == "ENOSPC"


def test_fio_verifies(disk):
    d, _ = disk
    subprocess.run(["fio", "--name=v", "--ioengine=nbd", f"--uri={d.uri('slot1')}", "--rw=randwrite", "--bsrange=512-64k",
                    "--size=8m", "--verify=crc32c", "--iodepth=32", "--output=/dev/null"], check=True, timeout=120,
                   cwd=d.folder)


def test_a_flushed_write_survives_sigkill(disk):
    d, image = disk
    h = handle(d.uri("slot1"))
    h.pwrite(b"flushed!" * 512, 40960)
    h.flush()
    d.kill()
    assert image.read_bytes()[40960:40960 + 4096] == b"flushed!" * 512
    d.__init__(d.folder)  # over the stale sockets; it goes on with the medium
    wait_for(lambda: d.slot(1)["state"] == "ready", "the medium of before")
    assert handle(d.uri("slot1")).pread(4096, 40960) == b"flushed!" * 512


def test_a_read_only_slot_does_not_open_for_writing(daemon, folder):
    image = make_image(folder / "disk", 65536)
    d = daemon()
    d.ok(f"insert 1 {image}")
    h = handle(d.uri("slot1"))
    assert h.is_read_only()
    targets = [os.readlink(f"/proc/{d.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{d.process.pid}/fd")]
    fd = [n for n in os.listdir(f"/proc/{d.process.pid}/fd")
          if os.readlink(f"/proc/{d.process.pid}/fd/{n}") == str(image)][0]
    flags = int(pathlib.Path(f"/proc/{d.process.pid}/fdinfo/{fd}").read_text().split("flags:")[1].split()[0], 8)
    assert targets and flags & os.O_ACCMODE == os.O_RDONLY


# --- bad clients ---

HELLO = b"\0\0\0\3" + b"IHAVEOPT" + struct.pack(">II", 1, 0)


def read_request(cookie, offset, length):
    return struct.pack(">IHHQQI", 0x25609513, 0, 0, cookie, offset, length)


def test_a_client_gone_at_any_byte_harms_nobody(daemon, www):
    d = daemon("slot.slot0.max-connections=64")
    d.ok(f"insert 0 {www}/image.iso")
    talk = HELLO + read_request(1, 0, 100000) * 3
    for cut in range(0, len(talk) + 1, 2):
        with d.connect("slot0.sock") as s:
            s.sendall(talk[:cut])
    assert len(handle(d.uri()).pread(512, 0)) == 512


def test_who_does_not_finish_the_handshake_or_is_idle_is_dropped(daemon, www):
    d = daemon("slot.slot1.idle-timeout=2s")
    d.ok(f"insert 1 {www}/image.iso")
    began = time.monotonic()
    silent, half, idle = d.connect("slot0.sock"), d.connect("slot0.sock"), d.connect("slot1.sock")
    half.sendall(HELLO[:11])
    idle.sendall(HELLO + read_request(1, 0, 512))

    def lasted(s):
        while s.recv(4096):
            pass
        s.close()
        return time.monotonic() - began

    assert 1.9 < lasted(idle) < 8
    assert 9 < lasted(silent) < 20 and 9 < lasted(half) < 20
    assert len(handle(d.uri("slot1")).pread(512, 0)) == 512


@pytest.mark.plain
def test_a_client_that_never_reads_costs_bounded_memory(daemon, nginx, ca, www):
    d = daemon(ca)
    d.ok(f"insert 0 {nginx.url('image.iso')}")
    image = (www / "image.iso").read_bytes()
    stalled = []
    for _ in range(6):
        s = d.connect("slot0.sock")
        s.settimeout(2)
        s.sendall(HELLO)
        try:
            s.sendall(b"".join(read_request(i, i * 65536 % 5000000, 262144) for i in range(3000)))
        except OSError:
            pass  # it stopped reading: that is the point
        stalled.append(s)
    h = handle(d.uri())
    for i in range(50):
        assert h.pread(100000, i * 100000) == image[i * 100000:(i + 1) * 100000]
    if not SANITIZED:
        assert d.rss() < 80 << 20
    for s in stalled:
        s.close()


# --- memory ---


@pytest.mark.plain(only=True)  # a sanitizer's memory says nothing of ours
def test_a_terabyte_image_costs_nothing_to_insert(daemon, nginx, ca):
    d = daemon(ca)
    d.ok(f"insert 0 {nginx.url('image.iso')}")  # TLS and curl are warm
    d.ok("eject 0")
    d.reset_rss()
    before = d.rss()
    d.ok(f"insert 0 {nginx.url('tera.iso')}")
    assert d.slot()["size"] == 1 << 40
    assert d.rss() - before < 1 << 20


def libraries(folder):
    """Bytes of a process that has loaded the same libraries and waits for a line: those of newer distributions take more."""
    process = subprocess.Popen([binary(), "passwd", f"--file={folder}/none", "nobody"], stdin=subprocess.PIPE)
    status = pathlib.Path(f"/proc/{process.pid}")
    wait_for(lambda: "pipe" in (status / "wchan").read_text(), "the program to wait")
    rss = int(re.search(r"VmHWM:\s*(\d+)", (status / "status").read_text())[1]) << 10
    process.kill()
    process.wait()
    process.stdin.close()
    return rss


@pytest.mark.plain(only=True)  # a sanitizer's memory says nothing of ours
def test_memory_stays_within_cache_and_16_mib(daemon, nginx, ca):
    d = daemon(ca, "daemon.cache-size=32M")
    assert d.rss() < max(12 << 20, libraries(d.folder) + (4 << 20))
    d.ok(f"insert 0 {nginx.url('sparse.iso')}")

    def reader(seed):
        h, rng = handle(d.uri()), random.Random(seed)
        return sum(len(h.pread(262144, i * 262144 + seed * (700 << 20) if seed % 2 else rng.randrange(4 << 30)))
                   for i in range(100))

    assert at_once(reader, range(6)) == [100 * 262144] * 6
    assert d.rss() < (32 + 16) << 20


@pytest.mark.plain(only=True)  # a sanitizer's memory says nothing of ours
def test_memory_stays_within_bounds_when_small_reads_break_up_the_heap(daemon, nginx, ca):
    d = daemon(ca, "daemon.cache-size=48M")
    d.ok(f"insert 0 {nginx.url('sparse.iso')}")

    def reader(seed):
        h, rng = handle(d.uri()), random.Random(seed)
        for _ in range(1500):
            h.pread(rng.choice((8192, 16384, 16384, 50000)), rng.randrange(1 << 20) * 4096)

    at_once(reader, range(6))
    assert d.status()["cache"]["evictions"] > 1000
    assert d.rss() < (48 + 16) << 20
