"""Files in browsers as media: every byte, every way a browser comes, goes and comes back."""
import base64
import hashlib
import random
import struct
import threading

import nbd
import pytest

from browser import BINARY, DISC, EIO, FLAVOURS, READ, WRITE, Browser, Image, Refused, Sparse, WebSocket
from conftest import wait_for
from test_nbd import handle
from website import PASSWORDS, accounts, new_site, shared_site, site  # noqa: F401 (fixtures)

SLOTS = {
    "slot0": {"reconnect-grace": "60s", "io-timeout": "60s"},
    "slot1": {"reconnect-grace": "60s", "media": "disk"},
    "short": {"reconnect-grace": "500ms", "io-timeout": "60s"},
    "stay": {"reconnect-grace": "500ms", "io-timeout": "60s", "reconnect-stay": "yes"},
    "impatient": {"reconnect-grace": "60s", "io-timeout": "1s"},
    "over": {"reconnect-grace": "60s", "media": "disk", "overlay": "memory"},
}


@pytest.fixture(scope="module")
def shared(accounts):
    yield from shared_site(accounts, slots=SLOTS, keys={"root-slot": "slot0"},
                           more="[daemon]\ncache-size = 16M\ncache-slot-minimum = 1M\n")


FAR = 40 << 20  # beyond what is read ahead


def some(size, seed=5):
    return Image(random.Random(seed).randbytes(size))


def ready(site, browser):
    browser.wait_serving()
    site.wait_state(browser.slot, "ready")
    return browser


def read_whole(uri, piece=100_003):
    h = handle(uri)
    size, digest = h.get_size(), hashlib.sha256()
    for at in range(0, size, piece):
        digest.update(h.pread(min(piece, size - at), at))
    return digest.hexdigest()


class Reader(threading.Thread):
    """One read, in the background, as of a host."""

    def __init__(self, uri, length, offset):
        super().__init__(daemon=True)
        self.handle, self.length, self.offset = handle(uri), length, offset
        self.data = self.error = None
        self.start()

    def run(self):
        try:
            self.data = bytes(self.handle.pread(self.length, self.offset))
        except nbd.Error as error:
            self.error = error.errno

    def result(self, seconds=60):
        self.join(seconds)
        assert not self.is_alive(), "the read does not end"
        return self.error or self.data


class Hold:
    """An `on_request` that answers nothing from the moment it is set."""

    def __init__(self, on=True):
        self.on, self.held = on, []

    def __call__(self, browser, kind, *request):
        if self.on and kind == READ:
            self.held.append(request)
            return True
        return False

    def wait(self):
        wait_for(lambda: self.held, "a request")


# --- every byte ---


SMOKE = {"page", "webui-vue"}


@pytest.mark.parametrize("flavour", [pytest.param(f, marks=pytest.mark.smoke) if f in SMOKE else f for f in FLAVOURS])
def test_eight_readers_in_each_flavour(site, flavour):
    image = some(1_500_001)
    browser = ready(site, Browser(site.web("admin"), image, flavour=flavour))
    wanted, found = hashlib.sha256(image.data).hexdigest(), []
    threads = [threading.Thread(target=lambda n=n: found.append(read_whole(site.uri(), 60_000 + 7001 * n))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert found == 8 * [wanted]
    assert not browser.faults and all(offset + length <= image.size for kind, offset, length in browser.requests if kind == READ)
    assert ("fault of webui-vue" in site.daemon.log()) or "2025-11" not in flavour
    assert site.web("admin").eject("slot0").status == 200
    assert browser.wait_end() == 1000 and browser.reason
    assert browser.requests[-1][0] == DISC


@pytest.mark.parametrize("size", [1, 511, 513, 4096, 65537])
def test_sizes_that_are_no_multiple(site, size):
    image = some(size)
    browser = ready(site, Browser(site.web("admin"), image))
    h = handle(site.uri())
    assert h.get_size() == size and h.pread(size, 0) == image.data
    assert h.is_read_only() and not browser.faults


def test_an_image_of_five_gigabytes(site):
    image = Sparse((5 << 30) + 12345)
    browser = ready(site, Browser(site.web("admin"), image))
    h = handle(site.uri())
    assert h.get_size() == image.size
    for offset, length in ((0, 5000), ((4 << 30) - 100_000, 200_001), ((1 << 31) - 5, 10), (image.size - 70_001, 70_001),
                           (image.size - 1, 1), (0xFFFFFFFF, 2)):
        assert h.pread(length, offset) == image.read(offset, length), offset
    assert not browser.faults and browser.code is None


@pytest.mark.parametrize("pieces", [1, 17, 4000])
def test_messages_in_many_frames(site, pieces):
    image = some(3001 if pieces == 1 else 300_001)
    ready(site, Browser(site.web("admin"), image, pieces=pieces))
    assert read_whole(site.uri()) == hashlib.sha256(image.data).hexdigest()


class OneByteAtATime(Browser):
    def send(self, data):
        for at in range(len(data)):
            self.socket.send(BINARY, data[at : at + 1])


def test_one_stream_however_it_is_cut_into_messages(site):
    image = some(2001)
    ready(site, OneByteAtATime(site.web("admin"), image))
    assert read_whole(site.uri()) == hashlib.sha256(image.data).hexdigest()


def test_replies_in_any_order_and_in_one_message(site):
    image, held, shuffle = some(2_000_000), [], random.Random(3)

    def gather(browser, kind, cookie, offset, length, data):
        if kind != READ:
            return False
        held.append((cookie, offset, length))
        return True

    browser = ready(site, Browser(site.web("admin"), image, on_request=gather))
    reader = Reader(site.uri(), image.size, 0)
    done = 0
    while reader.is_alive():
        if held:
            batch = [held.pop() for _ in range(len(held))]
            shuffle.shuffle(batch)
            done += len(batch)
            browser.send(b"".join(struct.pack(">IIQ", 0x67446698, 0, c) + image.read(o, n) for c, o, n in batch))
        reader.join(0.01)
    assert reader.result() == image.data and done > 1


def test_an_error_of_the_file_is_an_error_of_the_read(site):
    image, bad = some(1_000_000), [True]

    def fail(browser, kind, cookie, offset, length, data):
        if kind == READ and bad[0]:
            browser.reply(cookie, error=EIO)
            return True
        return False

    browser = ready(site, Browser(site.web("admin"), image, on_request=fail))
    h = handle(site.uri())
    with pytest.raises(nbd.Error) as caught:
        h.pread(5000, 100_000)
    assert caught.value.errno == "EIO"
    bad[0] = False
    assert h.pread(5000, 100_000) == image.data[100_000:105_000]
    assert browser.code is None


def test_a_browser_that_does_not_answer_is_an_error_of_the_read(site):
    hold = Hold()
    browser = ready(site, Browser(site.web("admin"), Sparse(64 << 20), "impatient", on_request=hold))
    assert Reader(site.uri("impatient"), 5000, 0).result() in ("EIO", "ETIMEDOUT")
    hold.on = False
    for args in hold.held:  # late answers are no data and no harm
        browser.reply(args[0], browser.image.read(*args[1:3]))
    assert Reader(site.uri("impatient"), 5000, 0).result() == browser.image.read(0, 5000)
    assert browser.code is None


def test_a_browser_that_stays_silent_is_hung_up_on(site):
    """It answers pings, and no request: its slot goes as that of one that was lost."""
    web, image = site.web("admin"), Sparse(64 << 20)
    browser = ready(site, Browser(web, image, "impatient", on_request=Hold()))
    reader = Reader(site.uri("impatient"), 5000, 0)
    assert browser.wait_end() == 1011 and browser.reason == "the NBD server answered nothing for 4s"
    assert reader.result() in ("EIO", "ETIMEDOUT")
    assert web.slot("impatient")["state"] == "waiting"
    ready(site, Browser(web, image, "impatient"))
    assert Reader(site.uri("impatient"), 5000, 0).result() == image.read(0, 5000)


def test_a_browser_that_answers_no_ping_is_missed(site):
    web = site.web("admin")
    browser = ready(site, Browser(web, some(5000)))
    browser.socket.answers_pings = False
    wait_for(lambda: web.slot()["state"] == "waiting", "the loss to be seen", 60)
    assert browser.wait_end() == 1011 and "timed out" in browser.reason
    ready(site, Browser(web, browser.image))


# --- lost and back ---


@pytest.mark.parametrize("how", [pytest.param("reset", marks=pytest.mark.smoke), "end", "left page"])
@pytest.mark.parametrize("flavour", ["page", "webui-vue"])
def test_a_lost_browser_comes_back_in_the_middle_of_a_read(site, how, flavour):
    web, image, hold = site.web("admin"), Sparse(64 << 20), Hold(False)
    browser = ready(site, Browser(web, image, flavour=flavour, on_request=hold))
    h = handle(site.uri())
    assert h.pread(100_000, 0) == image.read(0, 100_000)
    hold.on = True
    reader = Reader(site.uri(), 300_000, FAR)
    hold.wait()
    if how == "left page":
        browser.stop(1001)
        browser.wait_end()
    else:
        browser.cut(how == "reset")
    wait_for(lambda: web.slot()["state"] == "waiting", "the loss to be seen")
    assert reader.is_alive()
    again = ready(site, Browser(web, image, flavour=flavour))
    assert reader.result() == image.read(FAR, 300_000)
    assert h.pread(200_000, 20 << 20) == image.read(20 << 20, 200_000)
    assert web.slot()["state"] == "ready" and not again.faults
    assert "it is back, with the same image" in site.daemon.log()


def test_lost_many_times(site):
    web, image = site.web("admin"), Sparse(16 << 20)
    browser = ready(site, Browser(web, image))
    found = []
    reader = threading.Thread(target=lambda: found.append(read_whole(site.uri(), 40_000)))
    reader.start()
    for _ in range(5):
        before = len(browser.requests)
        wait_for(lambda: len(browser.requests) > before or not reader.is_alive(), "some reads")
        browser.cut()
        wait_for(lambda: web.slot()["state"] == "waiting", "the loss to be seen")
        browser = ready(site, Browser(web, image))
    reader.join(120)
    assert found == [hashlib.sha256(image.read(0, image.size)).hexdigest()]


def lose(site, web, slot="slot0", image=None, **more):
    """A slot that waits for a browser that has read a part of `image`, and a read that waits."""
    image = image or Sparse(64 << 20)
    browser = ready(site, Browser(web, image, slot, **more))
    assert handle(site.uri(slot)).pread(100_000, 0) == image.read(0, 100_000)
    browser.on_request = hold = Hold()
    reader = Reader(site.uri(slot), 100_000, FAR)
    hold.wait()
    browser.cut()
    wait_for(lambda: web.slot(slot)["state"] == "waiting" or slot in ("short", "stay"), "the loss to be seen")
    return image, reader


def test_another_file_is_no_return(site):
    web = site.web("admin")
    image, reader = lose(site, web)
    identity = {"name": "other.iso", "size": image.size, "lastModified": 1, "samples": []}
    answer = web.ticket("slot0", identity)
    assert answer.status == 409 and "another file" in answer.error
    assert web.insert("slot0", "https://127.0.0.1:1/x").status == 409
    for wrong, words in ((Sparse(image.size - 1), "size"), (Sparse(image.size + 1), "size"),
                         (Sparse(image.size, seed=2), "not the file")):
        other = Browser(web, wrong, identity=Browser(web, image, begin=False).identity)
        assert other.wait_end() == 1008 and words in other.reason, other.reason
        assert web.slot()["state"] == "waiting" and reader.is_alive()
    ready(site, Browser(web, image))
    assert reader.result() == image.read(FAR, 100_000)


def test_a_return_without_the_claim_is_checked_too(site):
    web = site.web("admin")
    image, reader = lose(site, web, flavour="webui-vue")
    other = Browser(web, Sparse(image.size, seed=2), flavour="webui-vue")
    assert other.wait_end() == 1008
    ready(site, Browser(web, image, flavour="webui-vue"))
    assert reader.result() == image.read(FAR, 100_000)


def test_a_file_that_can_not_be_read_again_is_a_failure(site):
    web = site.web("admin")
    image, reader = lose(site, web)

    def fail(browser, kind, cookie, *rest):
        browser.reply(cookie, error=EIO)
        return True

    other = Browser(web, image, on_request=fail)
    assert other.wait_end() == 1011 and "read again" in other.reason
    ready(site, Browser(web, image))
    assert reader.result() == image.read(FAR, 100_000)


def test_one_that_does_not_come_back_is_ejected(site):
    web = site.web("admin")
    image, reader = lose(site, web, "short")
    assert reader.result() in ("EIO", "ESHUTDOWN", "ENOTCONN")
    site.wait_state("short", "empty")
    assert "did not come back" in web.slot("short")["error"]
    ready(site, Browser(web, image, "short"))


def test_the_medium_may_stay_for_one_that_comes_later(site):
    web = site.web("admin")
    image, reader = lose(site, web, "stay")
    assert reader.result() == "EIO"
    assert web.slot("stay")["state"] == "waiting"
    assert Reader(site.uri("stay"), 5000, 20 << 20).result() == "EIO"  # at once, now
    ready(site, Browser(web, image, "stay"))
    assert handle(site.uri("stay")).pread(5000, 20 << 20) == image.read(20 << 20, 5000)
    assert web.eject("stay").status == 200


def test_a_slot_that_waits_is_ejected(site):
    web = site.web("admin")
    image, reader = lose(site, web)
    assert web.eject("slot0").status == 200
    assert reader.result() in ("EIO", "ESHUTDOWN", "ENOTCONN")
    assert web.slot()["state"] == "empty"


@pytest.mark.parametrize("code", [1000, None])
def test_a_deliberate_end_ejects_at_once(site, code):
    logged = len(site.daemon.log())
    browser = ready(site, Browser(site.web("admin"), some(5000), flavour="webui-vue"))
    browser.stop(code)
    browser.wait_end()
    assert browser.socket.code == 1000  # webui-vue takes anything else for an error
    site.wait_state("slot0", "empty", 20)
    assert_ordinary(site, "slot0", logged)


def assert_ordinary(site, slot, logged):
    """What ended was an eject: nobody is told of an error."""
    assert site.status(slot)["error"] is None
    log = site.daemon.log()[logged:]
    assert " error " not in log and " warning " not in log and f"{slot}: ejected browser:" in log, log


def test_a_page_that_was_left_for_good_is_no_failure(site):
    logged = len(site.daemon.log())
    browser = ready(site, Browser(site.web("admin"), some(5000), "short"))
    browser.stop(1001)
    browser.wait_end()
    site.wait_state("short", "empty", 20)
    assert_ordinary(site, "short", logged)


def test_one_that_never_speaks_is_no_medium(site):
    web = site.web("admin")
    browser = Browser(web, some(5000), begin=False)
    browser.connect()
    site.wait_state("slot0", "opening")
    browser.socket.wire.cut(reset=False)
    site.wait_state("slot0", "empty")
    assert web.slot()["error"]


# --- close codes, paths, subprotocols ---


def test_the_end_of_the_daemon_is_going_away(new_site):
    site = new_site(slots={"slot0": {}, "slot1": {}})
    browsers = [ready(site, Browser(site.web("admin"), some(5000), "slot0")),
                ready(site, Browser(site.web("admin"), some(5000), "slot1", flavour="webui-vue"))]
    site.stop()
    for browser in browsers:
        assert browser.wait_end() == 1001 and not browser.faults


def test_a_second_browser_is_told_before_it_connects(site):
    web = site.web("admin")
    browser = ready(site, Browser(web, some(5000)))
    for flavour in ("page", "jsnbd", "webui-vue"):
        with pytest.raises(Refused) as caught:
            Browser(web, some(5000), flavour=flavour)
        assert caught.value.answer.status == 409 and "eject it first" in caught.value.answer.error
    assert handle(site.uri()).pread(5000, 0) == browser.image.data and browser.code is None


@pytest.mark.parametrize("path", ["/nbd/0", "/nbd/slot0", "/vm/0/0", "/nbd/0/", "/nbd/slot0/", "/vm/0/0/", "//nbd//0", "/"])
@pytest.mark.parametrize("flavour", ["webui-vue", "jsnbd"])
def test_every_path_that_others_use(site, path, flavour):
    browser = ready(site, Browser(site.web("admin"), some(5000), flavour=flavour, path=path))
    assert handle(site.uri()).pread(5000, 0) == browser.image.data
    browser.stop()


def test_the_number_is_the_slots(site):
    ready(site, Browser(site.web("admin"), some(5000), "slot1", flavour="jsnbd", path="/vm/0/1"))
    for path in ("/nbd/6", "/nbd/none", "/vm/0/99", "/nbd/18446744073709551616"):
        with pytest.raises(Refused) as caught:
            Browser(site.web("admin"), some(5000), flavour="jsnbd", path=path)
        assert caught.value.answer.status == 404
    assert site.web().get("/").status in (200, 404)  # the page, not the slot


def with_password():
    return {"Authorization": "Basic " + base64.b64encode(f"admin:{PASSWORDS['admin']}".encode()).decode()}


@pytest.mark.parametrize("offered,chosen", [(None, None), ("binary", "binary"), ("undefined", "undefined"), ("a, b", "a"),
                                            ("x" * 127, "x" * 127)])
def test_a_subprotocol_is_echoed_if_one_is_offered(site, offered, chosen):
    socket = WebSocket(site.web(), "/nbd/0", offered, with_password())
    assert socket.protocol == chosen
    socket.close(1000)
    socket.wire.close()


def test_no_compression_is_agreed_on(site):
    socket = WebSocket(site.web(), "/nbd/0", None, {**with_password(), "Sec-WebSocket-Extensions": "permessage-deflate"})
    assert not socket.answer.all("Sec-WebSocket-Extensions")
    socket.close(1000)
    socket.wire.close()


def test_a_request_that_is_no_websocket_is_told_so(site):
    web = site.web()
    assert web.get("/nbd/0").status == 426 and web.get("/nbd/0").get("Upgrade") == "websocket"
    assert web.post("/nbd/0").status == 405
    for change in ({"Sec-WebSocket-Version": "8"}, {"Sec-WebSocket-Version": None}, {"Sec-WebSocket-Key": "short"},
                   {"Sec-WebSocket-Key": None}, {"Upgrade": "h2c"}, {"Connection": "close"}, {"Sec-WebSocket-Protocol": "x" * 200}):
        with pytest.raises(Refused) as caught:
            WebSocket(web, "/nbd/0", None, {**with_password(), **change})
        assert caught.value.answer.status in (400, 426), change


# --- writing ---


@pytest.mark.smoke
def test_writes_reach_the_browsers_file(site):
    web, image = site.web("admin"), some(1_000_000)
    browser = ready(site, Browser(web, image, "slot1", writable=True))
    assert web.slot("slot1")["writable"]
    h = handle(site.uri("slot1"))
    assert not h.is_read_only()
    wanted, rng = bytearray(image.data), random.Random(9)
    for _ in range(30):
        offset, data = rng.randrange(900_000), rng.randbytes(rng.choice((1, 511, 4096, 65_536)))
        wanted[offset : offset + len(data)] = data
        h.pwrite(data, offset)
    h.flush()
    assert image.data == wanted and not browser.faults
    assert h.pread(1_000_000, 0) == wanted
    assert any(kind == WRITE for kind, *_ in browser.requests)
    browser.cut()
    wait_for(lambda: web.slot("slot1")["state"] == "waiting", "the loss to be seen")
    writer = threading.Thread(target=lambda: h.pwrite(b"after", 5))
    writer.start()
    ready(site, Browser(web, image, "slot1", writable=True))
    writer.join(60)
    h.flush()
    assert image.data[5:10] == b"after"


@pytest.mark.parametrize("slot,writable", [("slot0", True), ("slot1", False)])
def test_nothing_is_written_where_it_may_not(site, slot, writable):
    browser = ready(site, Browser(site.web("admin"), some(5000), slot, writable=writable))
    h = handle(site.uri(slot))
    assert h.is_read_only() and not site.web("admin").slot(slot)["writable"]
    h.set_strict_mode(0)
    with pytest.raises(nbd.Error) as caught:
        h.pwrite(b"x" * 512, 0)
    assert caught.value.errno == "EPERM"
    h.flush()
    assert all(kind == READ for kind, *_ in browser.requests)


def test_an_overlay_takes_the_writes(site):
    web, image = site.web("admin"), some(1_000_000)
    before = bytes(image.data)
    browser = ready(site, Browser(web, image, "over"))
    h = handle(site.uri("over"))
    assert not h.is_read_only()
    h.pwrite(b"A" * 10_000, 5_000)
    h.flush()
    assert h.pread(20_000, 0) == before[:5000] + b"A" * 10_000 + before[15_000:20_000]
    browser.cut()
    wait_for(lambda: web.slot("over")["state"] == "waiting", "the loss to be seen")
    browser = ready(site, Browser(web, image, "over"))
    assert h.pread(20_000, 0) == before[:5000] + b"A" * 10_000 + before[15_000:20_000]
    assert image.data == before and not browser.faults
    h.shutdown()
    assert web.eject("over").status == 200
    ready(site, Browser(web, image, "over"))
    assert handle(site.uri("over")).pread(20_000, 0) == before[:20_000]  # it was thrown away
