"""What a boot reads is noted and fetched ahead at the next one; and how a boot went is told."""
import json
import os
import random
import time

import pytest

from conftest import wait_for
from liar import Liar, basic, stall
from test_nbd import handle

CLUSTER = 64 << 10
SIZE = 600 * CLUSTER - 5  # a multiple of nothing
PLACES = random.Random(5).sample(range(SIZE // CLUSTER), 60)  # what the host reads, in this order
BYTES = len(PLACES) * CLUSTER


@pytest.fixture(scope="module")
def image(www):
    data = random.Random(77).randbytes(SIZE)
    (www / "boot.iso").write_bytes(data)
    yield data
    (www / "boot.iso").unlink()


def boot(d, image, places=PLACES):
    h = handle(d.uri())
    for place in places:
        wanted = image[place * CLUSTER:(place + 1) * CLUSTER]
        assert h.pread(CLUSTER, place * CLUSTER)[:len(wanted)] == wanted
    h.shutdown()


def profile_text(places=PLACES, size=SIZE, **more):
    runs = [[place, 1, i] for i, place in enumerate(places)]
    return json.dumps({"profile": 1, "image": "x", "size": size, "validator": "", "cluster": CLUSTER, "runs": runs, **more})


def report(d):
    return json.loads(d.ok("report 0")[0])


def is_all_there(d):
    return d.slot()["stats"]["bytes"] >= BYTES


@pytest.fixture
def keeper(daemon, ca, folder):
    """Starts daemons that keep profiles, all in one folder."""
    return lambda *more: daemon(ca, f"daemon.profile-directory={folder}/profiles", *more)


@pytest.fixture
def kept(folder):
    """The files that are there."""
    return lambda: list((folder / "profiles").glob("*.boot-profile"))


# --- kept and used ---


def test_the_second_boot_finds_all_of_it_there(keeper, kept, nginx, image):
    d = keeper()
    url = nginx.url("boot.iso")
    assert "nothing was read" in d.error("report 0") and "nothing was read" in d.error("profile 0")
    d.ok(f"insert 0 {url}")
    boot(d, image)
    first = report(d)
    d.ok("eject 0")
    [path] = wait_for(kept, "the profile")
    text = wait_for(path.read_text, "its text")
    profile = json.loads(text)
    assert len(text) <= 16384 and path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert (profile["image"], profile["size"], profile["cluster"]) == ("boot.iso", SIZE, CLUSTER)
    assert [c for at, count, _ in profile["runs"] for c in range(at, at + count)] == PLACES
    d.stop()

    d = keeper()
    d.ok(f"insert 0 {url}")
    wait_for(lambda: is_all_there(d), "what the boot will read")
    boot(d, image)
    second = report(d)
    assert (first["profile"], second["profile"]) == ("none", "followed")
    assert d.slot()["stats"]["misses"] == 0 and second["fetched"]["inVain"] <= 90_112  # the edges
    assert second["fetched"]["bytes"] < BYTES + 200_000
    assert json.loads(d.ok("profile 0")[0])["runs"]
    d.ok("eject 0")
    d.stop()
    assert "by its boot profile" in d.log()
    assert path.read_text() == text  # nothing was new: it was not written again


def test_another_image_or_version_has_no_use_of_it(keeper, kept, nginx, www, image):
    d = keeper()
    d.ok(f"insert 0 {nginx.url('boot.iso')}")
    boot(d, image)
    d.ok("eject 0")
    wait_for(kept, "the profile")
    os.utime(www / "boot.iso", (1e9, 1e9))  # another time: another validator
    d.ok(f"insert 0 {nginx.url('boot.iso')}")
    boot(d, image)
    assert report(d)["profile"] == "none"


def test_a_boot_that_reads_elsewhere_drops_it_and_is_kept_itself(keeper, kept, nginx, image):
    d = keeper()
    others = [place for place in range(1, SIZE // CLUSTER, 7) if place not in PLACES]
    d.ok(f"insert 0 {nginx.url('boot.iso')}")
    boot(d, image)
    d.ok("eject 0")
    wait_for(kept, "the profile")
    d.ok(f"insert 0 {nginx.url('boot.iso')}")
    wait_for(lambda: "is known to read" in d.log(), "the profile to be found")
    boot(d, image, others)
    assert report(d)["profile"] == "misfit"
    d.ok("eject 0")
    [path] = kept()
    wait_for(lambda: json.loads(path.read_text())["runs"][0][0] == others[0], "the new one")


def test_what_is_read_in_order_or_hardly_at_all_is_not_kept(keeper, kept, nginx, image):
    d = keeper()
    for places in (range(SIZE // CLUSTER), PLACES[:5]):
        d.ok(f"insert 0 {nginx.url('boot.iso')}")
        boot(d, image, places)
        d.ok("eject 0")
    d.stop()
    assert not kept()


@pytest.mark.parametrize("how", ["config", "insert"])
def test_nothing_is_noted_where_nobody_wants_it(keeper, kept, nginx, image, how):
    d = keeper(*(["http.boot-profile=no"] if how == "config" else []))
    d.ok(f"insert 0 {nginx.url('boot.iso')}" + (" profile=no" if how == "insert" else ""))
    boot(d, image)
    d.stop()
    assert not kept()


# --- given ---


@pytest.mark.parametrize("where", ["url", "path"])
def test_a_profile_is_given_to_an_insert(daemon, ca, nginx, www, image, folder, where):
    d = daemon(ca)
    d.ok(f"insert 0 {nginx.url('boot.iso')}")
    boot(d, image)
    text = d.ok("profile 0")[0]
    d.ok("eject 0")
    (www / "given.json").write_text(text)
    d.ok(f"insert 0 {nginx.url('boot.iso')} profile={nginx.url('given.json') if where == 'url' else www / 'given.json'}")
    wait_for(lambda: is_all_there(d), "what the boot will read")
    boot(d, image)
    assert report(d)["profile"] == "followed" and d.slot()["stats"]["misses"] == 0


def test_one_that_lies_beside_the_image_is_found(daemon, ca, nginx, www, image):
    (www / "boot.iso.boot-profile").write_text(profile_text())
    d = daemon(ca, "http.boot-profile=auto")
    d.ok(f"insert 0 {nginx.url('boot.iso')}")
    wait_for(lambda: is_all_there(d), "what the boot will read")
    (www / "boot.iso.boot-profile").unlink()
    d.ok("eject 0")
    d.ok(f"insert 0 {nginx.url('boot.iso')}")
    wait_for(lambda: "404" in d.log(), "that there is none to be said")
    boot(d, image)


@pytest.mark.parametrize("text,words", [
    ("<html>", "it is no JSON"),
    ("{}", "it is no boot profile"),
    (profile_text([SIZE // CLUSTER + 1]), "it is no boot profile"),
    (profile_text(size=SIZE - CLUSTER, places=[1, 2]), "of an image of another size"),
    (" " * 20_000, "too large"),
])
def test_a_bad_one_is_said_and_the_image_is_in(daemon, ca, nginx, www, image, text, words):
    (www / "bad.json").write_text(text)
    d = daemon(ca)
    d.ok(f"insert 0 {nginx.url('boot.iso')} profile={nginx.url('bad.json')}")
    wait_for(lambda: words in d.log(), words)
    boot(d, image, PLACES[:3])


def test_the_images_password_is_not_sent_to_the_profiles_server(daemon, image):
    one, other = Liar(image), Liar(profile_text().encode())

    def wants_it(request):
        if request.headers.get("authorization") == basic("u", "p"):
            return one.honest(request)
        request.answer(401, [("WWW-Authenticate", 'Basic realm="x"')])

    try:
        one.behaviour = wants_it
        d = daemon()
        d.ok(f"insert 0 {one.url()} user=u password=p profile={other.url()}")
        wait_for(lambda: "is known to read" in d.log(), "the profile")
        assert other.requests and not [r for r in other.requests if "authorization" in r.headers]
        d.ok("eject 0")
    finally:
        one.stop()
        other.stop()


def test_an_eject_while_the_profile_is_being_read(daemon, image):
    one, other = Liar(image), Liar(profile_text().encode())
    try:
        other.behaviour = stall
        d = daemon()
        for _ in range(6):  # more than are looked for at a time
            d.ok(f"insert 0 {one.url()} profile={other.url()}")
            d.ok("eject 0")
        d.stop()
    finally:
        one.stop()
        other.stop()


# --- how it went ---


def test_waits_are_told_with_their_places(daemon, image):
    server, place = Liar(image), 1_000_000

    def late(request):
        time.sleep(0.3)
        server.honest(request)

    try:
        d = daemon("http.readahead=no")
        d.ok(f"insert 0 {server.url()}")
        h = handle(d.uri())
        h.pread(4096, 2_000_000)
        server.behaviour = late
        assert h.pread(4096, place) == image[place:place + 4096]
        server.behaviour = server.honest
        h.shutdown()
        d.ok("eject 0")
    finally:
        server.stop()
    told = report(d)
    assert told["ended"] and told["host"]["reads"] == 2 and told["host"]["bytes"] == 8192
    [wait] = [s for s in told["host"]["longest"] if s["offset"] == place]
    assert wait["length"] == 4096 and 250 <= wait["waitedMs"] < 5000
    assert told["host"]["stalls"] >= 1 and told["fetched"]["requests"] >= 2
    assert f"at {place}" in d.log() and "boot report: 2 reads of 8.0 KiB" in d.log()


def test_a_profiles_address_with_a_secret_is_not_written_down(daemon, image):
    one, other = Liar(image), Liar(profile_text().encode())
    try:
        d = daemon()
        d.ok(f"insert 0 {one.url()} profile={other.url()}?token=CANARY")
        wait_for(lambda: "is known to read" in d.log(), "the profile")
        wait_for(lambda: "image.iso" in d.state(), "the state file")
        assert "CANARY" not in d.state() and "CANARY" not in d.log()
        d.ok("eject 0")
        d.ok(f"insert 0 {one.url()} profile={other.url()}")
        wait_for(lambda: other.url() in d.state(), "an address without one")
    finally:
        one.stop()
        other.stop()
