"""Images that are uploaded into the daemon's own storage, and inserted from there."""
import hashlib
import json
import os
import random
import stat
import subprocess
import urllib.parse

import pytest

from conftest import Daemon, wait_for
from test_nbd import handle
from website import PASSWORDS, AnswerReader, accounts, new_site, shared_site  # noqa: F401 (fixtures)

IMAGE = random.Random(21).randbytes(3_000_001)
DIGEST = hashlib.sha256(IMAGE).hexdigest()


@pytest.fixture(scope="module")
def shared(accounts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uploads") / "store"
    yield from shared_site(accounts, keys={"upload-directory": folder, "upload-size": "16M", "upload-free": "0"})


@pytest.fixture
def site(shared):
    yield shared
    shared.reset()
    with_login = shared.web("admin")
    for upload in with_login.ok("GET", "/api/uploads").json()["uploads"]:
        with_login.ok("DELETE", path(upload["name"]))
    shared.reset()


def path(name):
    return "/api/uploads/" + urllib.parse.quote(name, safe="")


def put(web, name, data, first=None, size=None, **headers):
    if first is not None:
        headers["Content-Range"] = f"bytes {first}-{first + len(data) - 1}/{size}"
    return web.ask("PUT", path(name), body=data, headers=headers)


def offset(web, name):
    answer = web.ask("HEAD", path(name))
    return int(answer.get("Upload-Offset")) if answer.status == 200 else None


def listed(web):
    return {upload["name"]: upload for upload in web.ok("GET", "/api/uploads").json()["uploads"]}


def wait_piece_end(web, name):
    """Until what is on its way into the storage is there: nobody else may go on before."""
    wait_for(lambda: "already" not in put(web, name, b"x", 5, 5_000_000).error, "the piece's end")


def read_back(site, slot="slot0"):
    h = handle(site.uri(slot))
    return hashlib.sha256(h.pread(h.get_size(), 0)).hexdigest()


def test_a_whole_image_is_stored_and_inserted(site):
    web = site.web("operator")
    assert put(web, "disk.iso", IMAGE).status == 201
    entry = listed(web)["disk.iso"]
    assert entry == {"name": "disk.iso", "size": len(IMAGE), "offset": len(IMAGE), "complete": True, "sha256": DIGEST,
                     "modified": entry["modified"]}
    assert entry["modified"] > 1_600_000_000_000
    stored = site.keys["upload-directory"] / "disk.iso"
    assert stored.read_bytes() == IMAGE and stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert web.insert("slot0", "upload:disk.iso").status == 200
    assert read_back(site) == DIGEST
    slot = web.slot()
    assert (slot["imageName"], slot["image"], slot["connectedVia"]) == ("disk.iso", "upload:disk.iso", "uri")
    answer = web.ask("DELETE", path("disk.iso"))
    assert answer.status == 409 and "eject" in answer.error
    assert web.eject("slot0").status == 200
    assert web.insert("slot0", "UPLOAD:disk.iso").status == 200 and web.slot()["imageName"] == "disk.iso"
    assert web.ask("DELETE", path("disk.iso")).status == 409  # a scheme has no case
    assert web.eject("slot0").status == 200
    assert web.ask("DELETE", path("disk.iso")).status in (200, 204)
    assert listed(web) == {} and offset(web, "disk.iso") is None
    assert web.insert("slot0", "upload:disk.iso").status in (400, 404, 502)


def test_an_image_in_pieces(site):
    web = site.web("operator")
    assert offset(web, "disk.iso") is None
    for first in range(0, len(IMAGE), 700_000):
        answer = put(web, "disk.iso", IMAGE[first : first + 700_000], first, len(IMAGE))
        last = first + 700_000 >= len(IMAGE)
        assert answer.status == (201 if last else 200)
        assert offset(web, "disk.iso") == min(first + 700_000, len(IMAGE))
        if not last:
            entry = listed(web)["disk.iso"]
            assert (entry["complete"], entry["offset"], entry["size"]) == (False, first + 700_000, len(IMAGE))
            assert web.insert("slot0", "upload:disk.iso").status in (400, 404, 502)  # no half image is seen
    assert listed(web)["disk.iso"]["sha256"] == DIGEST
    assert web.insert("slot0", "upload:disk.iso").status == 200 and read_back(site) == DIGEST


@pytest.mark.smoke
def test_only_the_next_piece_is_taken(site):
    web, size = site.web("operator"), len(IMAGE)
    assert put(web, "disk.iso", IMAGE[1000:2000], 1000, size).status == 409
    assert put(web, "disk.iso", IMAGE[:1000], 0, size).status == 200
    for first, last, total in ((0, 1000, size), (999, 2000, size), (1001, 2000, size), (1000, 2000, size + 1)):
        answer = put(web, "disk.iso", IMAGE[first:last], first, total)
        assert answer.status == 409 and answer.error and int(answer.get("Upload-Offset")) == 1000
    assert offset(web, "disk.iso") == 1000
    assert put(web, "disk.iso", IMAGE[1000:], 1000, size).status == 201
    assert put(web, "disk.iso", IMAGE).status == 409  # there is one
    assert listed(web)["disk.iso"]["sha256"] == DIGEST


def test_a_piece_that_is_none(site):
    web = site.web("operator")
    for value in ("bytes 0-9", "bytes 0-9/*", "bytes */10", "bytes 5-4/10", "items 0-9/10", "bytes 0-8/10", "bytes 0-9/5",
                  "bytes 0-9/99999999999999999999", "bytes -1-8/10", "", "bytes 0-9/10, bytes 0-9/10"):
        assert put(web, "x", b"0123456789", **{"Content-Range": value}).status == 400, value
    assert put(web, "x", b"").status == 400
    chunked = web.text("PUT", path("x"), {"Transfer-Encoding": "chunked", "Content-Length": None}) + b"1\r\nx\r\n0\r\n\r\n"
    assert web.raw(chunked).status == 411
    assert listed(web) == {}


def test_names_stay_in_the_folder(site):
    web = site.web("operator")
    for bad in ("..", ".", ".hidden", "%2e%2e", "..%2fx", "a%2fb", "a%00b", "a%0ab", "a%5cb", "x" * 300, "%ff"):
        answer = web.ask("PUT", "/api/uploads/" + bad, body=b"data")
        assert answer.status in (400, 404, 405), (bad, answer)
    assert sorted(os.listdir(site.keys["upload-directory"].parent)) == ["store"]
    for good in ("ä ö & ?#%+.iso", "日本.iso", "-rf", "a'b\"c<script>", "x" * 200):
        assert put(web, good, b"data" * 300).status == 201
        assert good in listed(web)
        assert web.insert("slot0", "upload:" + urllib.parse.quote(good, safe="")).status == 200
        assert web.slot()["imageName"] == good
        assert handle(site.uri()).pread(4, 4) == b"data"
        assert web.eject("slot0").status == 200


def test_room_is_bounded(site):
    web = site.web("operator")
    answer = put(web, "large", b"x", 0, 17 << 20)
    assert answer.status == 413 and answer.error
    assert put(web, "one", b"x", 0, 10 << 20).status == 200
    answer = put(web, "two", b"x", 0, 10 << 20)
    assert answer.status == 507 and answer.error
    assert web.ask("DELETE", path("one")).status in (200, 204)
    assert put(web, "two", b"x", 0, 10 << 20).status == 200


def test_what_arrived_of_a_cut_piece_stays(site):
    web = site.web("operator")
    text = web.text("PUT", path("disk.iso"), {"Content-Length": str(len(IMAGE))})
    wire = web.connect()
    wire.sendall(text + IMAGE[:1_500_000])
    wait_for(lambda: (offset(web, "disk.iso") or 0) > 0, "a part to be stored")
    assert put(web, "disk.iso", b"x", 1_500_000, len(IMAGE)).status == 409  # somebody writes it
    wire.cut()
    wait_piece_end(web, "disk.iso")
    at = offset(web, "disk.iso")
    assert 0 < at <= 1_500_000
    answer = put(web, "disk.iso", IMAGE[at:], at, len(IMAGE))
    assert answer.status == 201 and listed(web)["disk.iso"]["sha256"] == DIGEST


def test_an_upload_goes_on_after_a_crash(new_site, folder):
    site = new_site(keys={"upload-directory": folder / "store"})
    web = site.web("admin")
    assert put(web, "disk.iso", IMAGE[:1_000_000], 0, len(IMAGE)).status == 200
    text = web.text("PUT", path("disk.iso"), {"Content-Range": f"bytes 1000000-{len(IMAGE) - 1}/{len(IMAGE)}",
                                              "Content-Length": str(len(IMAGE) - 1_000_000)})
    wire = web.connect()
    wire.sendall(text + IMAGE[1_000_000:2_000_000])
    wait_for(lambda: offset(web, "disk.iso") > 1_000_000, "a part to be stored")
    site.daemon.kill()
    wire.cut()
    site.daemon = Daemon(site.folder, config=site.config())
    site.pages.clear()
    web = site.web("admin")
    at = offset(web, "disk.iso")
    assert 1_000_000 <= at <= 2_000_000
    answer = put(web, "disk.iso", IMAGE[at:], at, len(IMAGE))
    assert answer.status == 201 and answer.json()["sha256"] == DIGEST
    assert web.insert("slot0", "upload:disk.iso").status == 200 and read_back(site) == DIGEST


def test_who_only_reads_changes_nothing(site):
    assert put(site.web("operator"), "disk.iso", b"data").status == 201
    web = site.web("reader")
    assert "disk.iso" in listed(web) and offset(web, "disk.iso") == 4
    assert put(web, "new.iso", b"data").status == 403
    assert web.ask("DELETE", path("disk.iso")).status == 403
    assert "disk.iso" in listed(web) and "new.iso" not in listed(web)


def test_changes_need_the_csrf_token(site):
    web = site.web("operator")
    web.csrf = None
    assert put(web, "disk.iso", b"data").status == 403
    assert web.ask("DELETE", path("disk.iso")).status == 403
    assert listed(web) == {}


def test_without_a_folder_there_are_no_uploads(new_site):
    web = new_site().web("admin")
    assert web.get("/api/uploads").status == 404 and "upload-directory" in web.get("/api/uploads").error
    assert put(web, "x", b"data").status == 404


# --- taken home ---


def fetch(site, what, to):
    """As an administrator does it."""
    host, port = site.address()
    subprocess.run(["curl", "-fsSk", "-u", f"operator:{PASSWORDS['operator']}", "-o", to, f"https://{host}:{port}{what}"], check=True)
    return to.read_bytes()


def test_an_image_is_downloaded(site):
    """Whole and from the middle; a part of one, and one that is not there, are none; who may only look gets nothing."""
    web = site.web("operator")
    assert put(web, "größe 1.iso", IMAGE).status == 201
    whole = web.ok("GET", path("größe 1.iso"))
    assert whole.body == IMAGE and whole.get("Accept-Ranges") == "bytes" and whole.get("Content-Security-Policy") == "sandbox"
    assert whole.get("Content-Disposition") == "attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe%201.iso"
    size = len(IMAGE)
    part = web.ask("GET", path("größe 1.iso"), headers={"Range": f"bytes={size - 1000}-"})
    assert part.status == 206 and part.body == IMAGE[-1000:] and part.get("Content-Range") == f"bytes {size - 1000}-{size - 1}/{size}"
    beyond = web.ask("GET", path("größe 1.iso"), headers={"Range": f"bytes={size}-"})
    for method, more, length in (("GET", {"If-Range": '"x"'}, size), ("HEAD", {}, 0)):  # there are no parts of those
        all_of_it = web.ask(method, path("größe 1.iso"), headers={"Range": "bytes=5-", **more})
        assert all_of_it.status == 200 and len(all_of_it.body) == length, method
    assert beyond.status == 416 and beyond.get("Content-Range") == f"bytes */{size}"
    assert put(web, "part.iso", bytes(100), 0, 200).status == 200
    for name, status in (("part.iso", 404), ("nothing.iso", 404), ("../users", 400), (".hidden", 400)):
        assert web.get(path(name)).status == status, name
    assert site.web("reader").get(path("größe 1.iso")).status == 403
    assert 'audit: download: user="operator"' in site.daemon.log()


def test_a_medium_is_taken_home_with_what_its_host_wrote(new_site, folder, tmp_path):
    """By ranges, too; an eject in the middle cuts it, and what is read so is not the host's."""
    image = random.Random(22).randbytes(40_000_512)
    site = new_site(keys={"upload-directory": folder / "store"}, slots={"slot0": {"media": "disk", "overlay": "memory"}, "slot1": {}})
    web = site.web("admin")
    assert put(web, "stick.img", image).status == 201
    assert web.get("/api/slots/slot0/medium").status == 409 and web.get("/api/slots/none/medium").status == 404
    assert web.insert("slot0", "upload:stick.img", writable=True).status == 200
    wanted = image[:5000] + b"host wrote" + image[5010:]
    h = handle(site.uri())
    h.pwrite(b"host wrote", 5000)
    h.shutdown()
    before = web.slot()
    assert before["written"] == 8192 or before["written"] == 4096
    assert before["writtenStays"] is False
    assert fetch(site, "/api/slots/slot0/medium", tmp_path / "home") == wanted
    part = web.ask("GET", "/api/slots/slot0/medium", headers={"Range": "bytes=4990-5019"})
    assert part.status == 206 and part.body == wanted[4990:5020] and "stick.img" in part.get("Content-Disposition")
    assert web.slot()["stats"]["readBytes"] == before["stats"]["readBytes"]
    assert site.web("reader").get("/api/slots/slot0/medium").status == 403
    with web.connect() as wire:
        wire.sendall(web.text("GET", "/api/slots/slot0/medium"))
        reader = AnswerReader(wire)
        assert reader.head().status == 200
        assert web.eject("slot0").status == 200
        assert len(reader.buffer) + len(wire.read_all()) < len(image)
    assert (folder / "store/stick.img").read_bytes() == image


def test_an_empty_stick_is_made_and_brings_something_home(new_site, folder, tmp_path):
    """FAT32 that fsck and mtools find fault with nowhere, and that takes no room; a host writes to it."""
    site = new_site(keys={"upload-directory": folder / "store", "upload-size": "10G", "upload-free": "0"}, slots={"slot0": {"media": "disk"}})
    web = site.web("operator")
    for name, size, label in (("a.img", 40 << 20, "DUMP"), ("b.img", (261 << 20) + 511, "A-LABEL_9XY"), ("c.img", 41 << 20, "")):
        assert web.post(path(name), {"size": size, "label": label}).status == 201, name
        stick = folder / "store" / name
        assert stick.stat().st_size == size - size % 512 and stick.stat().st_blocks * 512 < 200_000
        table = subprocess.run(["sfdisk", "--json", stick], check=True, capture_output=True, text=True).stdout
        partition, = json.loads(table)["partitiontable"]["partitions"]
        assert (partition["start"], partition["size"], partition["type"]) == (2048, size // 512 - 2048, "c")
        subprocess.run(["dd", f"if={stick}", f"of={tmp_path}/part", "bs=1M", "skip=1", "conv=sparse", "status=none"], check=True)
        subprocess.run(["fsck.fat", "-n", tmp_path / "part"], check=True, capture_output=True)
        assert (label or "no label") in subprocess.run(["mlabel", "-s", "-i", f"{stick}@@1M", "::"], check=True, capture_output=True, text=True).stdout
        (tmp_path / "part").unlink()
    for what, status in (({"size": 1 << 20}, 400), ({"size": "1"}, 400), ({"size": 1 << 26, "label": "lower"}, 400),
                         ({"size": 1 << 26, "label": "TOO-LONG-LABEL"}, 400), ({"size": 1 << 40}, 413), ({"size": 10 << 30}, 507)):
        assert web.post(path("e.img"), what).status == status, what
    assert web.post(path("a.img"), {"size": 1 << 26}).status == 409 and site.web("reader").post(path("f.img"), {"size": 1 << 26}).status == 403
    assert set(listed(web)) == {"a.img", "b.img", "c.img"}
    assert web.insert("slot0", "upload:a.img", writable=True).status == 200
    other = tmp_path / "other.img"
    other.write_bytes((folder / "store/a.img").read_bytes())
    (tmp_path / "dump").write_bytes(IMAGE)
    subprocess.run(["mcopy", "-i", f"{other}@@1M", tmp_path / "dump", "::dump.bin"], check=True)
    written, data = other.read_bytes(), bytes(4096)
    h = handle(site.uri())
    for at in range(0, len(written), 4096):
        if written[at:at + 4096] != data:
            h.pwrite(written[at:at + 4096], at)
    h.shutdown()
    assert fetch(site, "/api/slots/slot0/medium", tmp_path / "home.img") == written
    subprocess.run(["mcopy", "-i", f"{tmp_path}/home.img@@1M", "::dump.bin", tmp_path / "found"], check=True)
    assert (tmp_path / "found").read_bytes() == IMAGE
