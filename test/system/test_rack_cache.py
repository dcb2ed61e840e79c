"""Eight BMCs boot from one image through packaging/nginx/rack-cache.conf: its server sends each slice once."""
import random
import re
import subprocess

import pytest

from bootable import GRUB, Disc, grown
from conftest import TOP, at_once, free_port, wait_for
from test_nbd import handle

MIB = 1 << 20
SIZE = 48 * MIB + 12_345
BMCS = 8


@pytest.fixture
def image(www):
    data = random.Random(31).randbytes(SIZE)
    (www / "rack.iso").write_bytes(data)
    yield data
    (www / "rack.iso").unlink()


@pytest.fixture
def rack(tmp_path, own_nginx, certificates):
    """The cache as it is shipped, with this machine's places and ports."""
    text = (TOP / "packaging/nginx/rack-cache.conf").read_text()
    port = free_port()
    for before, after in (("/var/cache/nginx/nbd-proxy", str(tmp_path / "cache")), ("listen 443", f"listen 127.0.0.1:{port}"),
                          ("/etc/nginx/rack-cache.pem", str(certificates / "good.pem")),
                          ("/etc/nginx/rack-cache.key", str(certificates / "good.key")),
                          ("https://images.example.com;", own_nginx.url("").rstrip("/") + ";\nproxy_ssl_name localhost;"),
                          ("/etc/ssl/certs/ca-certificates.crt", str(certificates / "ca.pem"))):
        assert before in text
        text = text.replace(before, after)
    temp = "\n".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (tmp_path / "conf").write_text(f"user root; daemon off; pid {tmp_path}/pid; events {{}} http {{ {temp} {text} }}")
    process = subprocess.Popen(["nginx", "-p", str(tmp_path), "-c", str(tmp_path / "conf"), "-e", str(tmp_path / "error.log")])
    wait_for(lambda: (tmp_path / "pid").exists(), "the cache")
    yield f"https://127.0.0.1:{port}/rack.iso"
    process.terminate()
    process.wait(20)


def asked_of_origin(origin):
    """The slices that were asked of the image's server, with repetitions."""
    lines = [line for line in origin.access() if "/rack.iso" in line]
    return [int(re.search(r"bytes=(\d+)-(\d+)", line)[1]) // MIB for line in lines]


def test_the_images_server_sends_each_slice_once(daemon, ca, own_nginx, rack, image):
    places = random.Random(8).sample(range(SIZE // 65536), 240)  # scattered, as a boot reads
    bmcs = [daemon(ca, "daemon.cache-size=16M") for _ in range(BMCS)]
    for d in bmcs:
        d.ok(f"insert 0 {rack}")

    def boot(d):
        h = handle(d.uri())
        for place in places:
            assert h.pread(65536, place * 65536) == image[place * 65536:(place + 1) * 65536]
        h.shutdown()
        return d.slot()["stats"]

    stats = at_once(boot, bmcs)
    slices = asked_of_origin(own_nginx)
    touched = {place * 65536 // MIB for place in places}
    assert len(slices) <= 1.05 * len(set(slices)) + 1  # once each (and one for what the cache has to know first)
    assert set(slices) >= touched
    assert sum(s["bytes"] for s in stats) > 2 * len(slices) * MIB  # what the BMCs have been sent


def test_machines_with_arguments_of_their_own_share_one_image(daemon, ca, own_nginx, rack, www, tmp_path):
    """Each has another boot configuration, laid behind the image's end; what the server sends is the image, and once."""
    disc = Disc(tmp_path, grub=grown(GRUB)).image.read_bytes()
    image = disc + random.Random(7).randbytes(8 * MIB - len(disc) % MIB)
    (www / "rack.iso").write_bytes(image)
    bmcs = [daemon(ca, "daemon.cache-size=16M") for _ in range(BMCS)]

    def boot(numbered):
        number, d = numbered
        d.ok(f"insert 0 {rack} kernel-args=machine={number}.")
        h = handle(d.uri())
        size = h.get_size()
        read = b"".join(h.pread(min(MIB, size - at), at) for at in range(0, size, MIB))
        h.shutdown()
        return read

    reads = at_once(boot, list(enumerate(bmcs)))
    slices = asked_of_origin(own_nginx)
    assert set(slices) == set(range((len(image) + MIB - 1) // MIB))
    assert len(slices) <= 1.05 * len(set(slices)) + 1
    for number, read in enumerate(reads):
        assert read.count(f" machine={number}.\n".encode()) >= 3 and read.count(b" machine=") == read.count(f" machine={number}.".encode())
        assert len(read) > len(image)
        same = sum(read[at:at + 65536] == image[at:at + 65536] for at in range(0, len(image), 65536))
        assert same >= len(image) // 65536 - 8


def test_no_request_crosses_a_slice(daemon, ca, own_nginx, www, image):
    d = daemon(ca)
    d.ok(f"insert 0 {own_nginx.url('rack.iso')}")
    h = handle(d.uri())
    for at in range(0, SIZE, 128 << 10):
        length = min(128 << 10, SIZE - at)
        assert h.pread(length, at) == image[at:at + length]
    assert h.pread(300_000, 5 * MIB - 100_000) == image[5 * MIB - 100_000:5 * MIB + 200_000]
    ranges = [tuple(map(int, m.groups())) for line in own_nginx.access() if (m := re.search(r"bytes=(\d+)-(\d+)", line))]
    assert ranges and all(first // MIB == last // MIB for first, last in ranges)
