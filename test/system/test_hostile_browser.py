"""A browser that is an enemy, or broken: the connection ends with the code that says so, the host gets an error
and never a byte that is wrong, memory stays bounded, and the next browser is served."""
import itertools
import struct
import threading
import time

import nbd
import pytest

from browser import (BINARY, CLOSE, CONTINUATION, GREETING, OPTION_REPLY, PING, READ, REPLY_MAGIC, TEXT, Browser, Ended, Refused,
                      Sparse, WebSocket, frame)
from conftest import SANITIZED
from test_nbd import handle
from test_web_browser import Reader, ready, some
from website import accounts, shared_site, site  # noqa: F401 (fixtures)

SLOTS = {
    "slot0": {"reconnect-grace": "0s", "io-timeout": "60s"},
    "slot1": {"reconnect-grace": "60s", "io-timeout": "60s"},
    "brief": {"reconnect-grace": "60s", "io-timeout": "500ms"},
    "small": {"reconnect-grace": "60s", "io-timeout": "60s", "browser-request": "128K"},
}


@pytest.fixture(scope="module")
def shared(accounts):
    yield from shared_site(accounts, slots=SLOTS, keys={"listen-plain": "127.0.0.1:0"},
                           more="[daemon]\ncache-size = 16M\ncache-slot-minimum = 1M\n")


def serves_the_next(site, web, slot="slot0"):
    site.wait_state(slot, "empty")
    browser = ready(site, Browser(web, some(5000), slot, flavour="jsnbd"))
    assert handle(site.uri(slot)).pread(5000, 0) == browser.image.data
    browser.stop()
    browser.wait_end()
    site.wait_state(slot, "empty")


def read(site, offset, slot="slot0"):
    """Bytes, or an error's name."""
    try:
        return bytes(handle(site.uri(slot)).pread(512, offset))
    except nbd.Error as error:
        return error.errno or "refused"


# --- wrong answers to a read ---

IMAGE = some(100_000, seed=3)


def right(cookie, length, error=0, magic=REPLY_MAGIC):
    return struct.pack(">IIQ", magic, error, cookie) + (b"" if error else bytes(length))


ANSWERS = {
    "wrong magic": lambda c, n: right(c, n, magic=0x67446699),
    "structured reply": lambda c, n: struct.pack(">IHHQI", 0x668E33EF, 1, 1, c, 8 + n) + bytes(8 + n),
    "request": lambda c, n: struct.pack(">IHHQQI", 0x25609513, 0, 0, c, 0, n),
    "unknown cookie": lambda c, n: right(c + 1_000_000, n),
    "cookie of nobody": lambda c, n: right(0xFFFFFFFFFFFFFFFF, n),
    "answer twice": lambda c, n: right(c, n) + right(c, n),
    "error twice": lambda c, n: right(c, 0, error=5) + right(c, 0, error=5),
    "longer": lambda c, n: right(c, n + 16),
    "longer by one": lambda c, n: right(c, n + 1) + right(c, n),
    "zeroes": lambda c, n: bytes(4096),
    "text of a proxy": lambda c, n: b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
}


@pytest.mark.parametrize("lie", ANSWERS)
def test_a_wrong_answer_ends_the_connection(site, lie):
    web, done = site.plain(), []

    def answer(browser, kind, cookie, offset, length, data):
        if kind != READ or done:
            return False
        done.append(True)
        browser.send(ANSWERS[lie](cookie, length))
        return True

    browser = ready(site, Browser(web, IMAGE, flavour="jsnbd", on_request=answer))
    for offset in (99_000, 0, 50_000):
        if isinstance(read(site, offset), str):
            break
        assert "twice" in lie or "longer" in lie  # what came first was an answer like any other
    assert browser.wait_end() == 1002 and browser.reason
    serves_the_next(site, web)


@pytest.mark.parametrize("number", [0xFFFFFFFF, 1, 22, 28, 75, 108, 0x80000000, 12345])
def test_every_error_number_is_an_error(site, number):
    def answer(browser, kind, cookie, offset, length, data):
        if kind == READ:
            browser.reply(cookie, error=number)
        return kind == READ

    browser = ready(site, Browser(site.plain(), IMAGE, flavour="jsnbd", on_request=answer))
    with pytest.raises(nbd.Error):
        handle(site.uri()).pread(512, 0)
    assert browser.code is None
    browser.on_request = None
    assert handle(site.uri()).pread(512, 0) == IMAGE.data[:512]


def test_a_short_payload_is_waited_for_and_then_given_up(site):
    web = site.plain()

    def answer(browser, kind, cookie, offset, length, data):
        if kind == READ:
            browser.send(struct.pack(">IIQ", REPLY_MAGIC, 0, cookie) + bytes(length - 1))
        return kind == READ

    browser = ready(site, Browser(web, some(1000), "brief", flavour="jsnbd", on_request=answer))
    assert Reader(site.uri("brief"), 512, 0).result() in ("EIO", "ETIMEDOUT")
    browser.cut()
    browser = ready(site, Browser(web, some(1000), "brief", flavour="jsnbd"))
    assert Reader(site.uri("brief"), 512, 0).result() == browser.image.data[:512]


def test_an_answer_to_what_was_given_up(site):
    """The late bytes of one request are never those of another."""
    web, image, held = site.plain(), Sparse(64 << 20), []

    def hold(browser, kind, cookie, offset, length, data):
        if kind == READ and len(held) < 4:
            held.append((cookie, length))
            return True
        return False

    browser = ready(site, Browser(web, image, "brief", flavour="jsnbd", on_request=hold))
    reader = Reader(site.uri("brief"), 4096, 0)
    assert reader.result() in ("EIO", "ETIMEDOUT")
    late = list(held)
    held += 4 * [None]
    for cookie, length in late:
        browser.reply(cookie, b"\xee" * length)
    for offset in (0, 1 << 20, 40 << 20):
        assert Reader(site.uri("brief"), 4096, offset).result() == image.read(offset, 4096)
    assert browser.code is None


# --- wrong handshakes ---

HANDSHAKES = {
    "wrong magic": dict(greeting=b"NBDMAGIX" + GREETING[8:]),
    "wrong option magic": dict(greeting=GREETING[:8] + b"IHAVEOPX" + GREETING[16:]),
    "oldstyle": dict(greeting=b"NBDMAGIC" + struct.pack(">QQI", 0x420281861253, 1 << 20, 3) + bytes(124)),
    "http": dict(greeting=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "size 0": dict(export=struct.pack(">QH", 0, 3)),
    "size 2^63": dict(export=struct.pack(">QH", 1 << 63, 3)),
    "size 2^64-1": dict(export=struct.pack(">QH", (1 << 64) - 1, 3)),
    "size 2^63+1": dict(export=struct.pack(">QH", (1 << 63) + 1, 3)),
}


@pytest.mark.parametrize("lie", HANDSHAKES)
def test_a_wrong_handshake_is_refused(site, lie):
    web = site.web("admin") if "size" in lie else site.plain()
    for flavour in ("page", "jsnbd") if "size" in lie else ("jsnbd",):
        browser = Browser(web, IMAGE, flavour=flavour, **HANDSHAKES[lie])
        assert browser.wait_end() in (1002, 1008) and browser.reason, (browser.code, browser.reason)
        site.wait_state("slot0", "empty")
        assert site.status()["error"] and site.status()["size"] == 0
    serves_the_next(site, web)


REPLIES = {
    "wrong magic": lambda: struct.pack(">QIII", 1, 7, 3, 0),
    "wrong option": lambda: struct.pack(">QIII", OPTION_REPLY, 1, 1, 0),
    "length 2^32-1": lambda: struct.pack(">QIII", OPTION_REPLY, 7, 3, 0xFFFFFFFF),
    "length 2^31": lambda: struct.pack(">QIII", OPTION_REPLY, 7, 3, 1 << 31),
    "length of an error 2^32-1": lambda: struct.pack(">QIII", OPTION_REPLY, 7, 0x80000001, 0xFFFFFFFF),
    "info of 1 byte": lambda: struct.pack(">QIIIB", OPTION_REPLY, 7, 3, 1, 0),
    "info of 0 bytes": lambda: struct.pack(">QIII", OPTION_REPLY, 7, 3, 0),
    "export of 11 bytes": lambda: struct.pack(">QIIIHQB", OPTION_REPLY, 7, 3, 11, 0, 1000, 0),
    "export of 13 bytes": lambda: struct.pack(">QIIIHQHB", OPTION_REPLY, 7, 3, 13, 0, 1000, 3, 0),
    "block sizes 0": lambda: (struct.pack(">QIIIHQH", OPTION_REPLY, 7, 3, 12, 0, 1000, 3) +
                              struct.pack(">QIIIHIII", OPTION_REPLY, 7, 3, 14, 3, 0, 0, 0) +
                              struct.pack(">QIII", OPTION_REPLY, 7, 1, 0)),
    "block sizes 2^32-1": lambda: (struct.pack(">QIIIHQH", OPTION_REPLY, 7, 3, 12, 0, 1000, 3) +
                                   struct.pack(">QIIIHIII", OPTION_REPLY, 7, 3, 14, 3, *3 * [0xFFFFFFFF]) +
                                   struct.pack(">QIII", OPTION_REPLY, 7, 1, 0)),
    "minimum over maximum": lambda: (struct.pack(">QIIIHQH", OPTION_REPLY, 7, 3, 12, 0, 1 << 20, 3) +
                                     struct.pack(">QIIIHIII", OPTION_REPLY, 7, 3, 14, 3, 65536, 512, 4096) +
                                     struct.pack(">QIII", OPTION_REPLY, 7, 1, 0)),
    "ack without an export": lambda: struct.pack(">QIII", OPTION_REPLY, 7, 1, 0),
    "infos without end": lambda: 20_000 * struct.pack(">QIIIH", OPTION_REPLY, 7, 3, 2, 99),
}


class AnswersGo(Browser):
    """Answers GO with these bytes, and says no more."""

    lie = b""

    def option(self):
        self.take(struct.unpack(">I", self.take(16)[12:])[0])
        self.send(self.lie)
        self.read_until_end()


@pytest.mark.parametrize("lie", REPLIES)
def test_a_wrong_answer_to_go_is_refused(site, lie):
    web = site.web("admin")
    browser = AnswersGo(web, IMAGE, lie=REPLIES[lie]())
    if "length" in lie:  # it may be skipped for as long as the handshake may take
        time.sleep(0.2)  # nothing happens
        browser.cut()
    else:
        assert browser.wait_end() in (1002, 1008, 1011) and browser.reason
    serves_the_next(site, web)


@pytest.mark.plain
def test_the_size_of_an_option_costs_no_memory(site):
    web = site.web("admin")
    browser = AnswersGo(web, IMAGE, lie=struct.pack(">QIII", OPTION_REPLY, 7, 0x80000001, 0xFFFFFFFF))
    site.daemon.reset_rss()
    before = site.daemon.rss()
    try:
        for _ in range(64):
            browser.socket.send(BINARY, bytes(1 << 20))
    except OSError:
        pass  # refused at once: as well
    if not SANITIZED:
        assert site.daemon.rss() - before < 4 << 20
    browser.cut()
    serves_the_next(site, web)


@pytest.mark.plain
@pytest.mark.parametrize("how", ["cut", "close"])
@pytest.mark.parametrize("flavour", ["page", "jsnbd"])
def test_a_browser_that_goes_at_every_byte_of_the_handshake(site, how, flavour):
    web = site.web("admin") if flavour == "page" else site.plain()
    whole = {"page": 18 + 32 + 34 + 20, "jsnbd": 18 + 10}[flavour]
    step = 1 if flavour == "jsnbd" else 7
    end = {"close": lambda browser: browser.socket.close(), "cut": lambda browser: browser.socket.wire.cut()}[how]
    for budget in range(0, whole, step * (4 if SANITIZED else 1)):
        browser = Browser(web, IMAGE, flavour=flavour, budget=budget, at_budget=end)
        browser.wait_end()
        site.wait_state("slot0", "empty")
        assert site.status()["error"], budget
    serves_the_next(site, web)


def test_a_browser_that_goes_in_the_middle_of_an_answer(site):
    web = site.plain()
    for extra in (0, 1, 15, 16, 17, 500, 4096):
        inserted = threading.Event()  # until then what is read ahead is answered

        def answer(browser, kind, cookie, offset, length, data, extra=extra, inserted=inserted):
            if kind == READ and inserted.is_set():
                reply = struct.pack(">IIQ", REPLY_MAGIC, 0, cookie) + browser.image.read(offset, length)
                browser.socket.send(BINARY, reply[:extra])
                browser.socket.wire.cut(reset=extra % 2)
                return True
            return False

        ready(site, Browser(web, IMAGE, flavour="jsnbd", on_request=answer))
        inserted.set()
        assert Reader(site.uri(), 90_000, 0).result() in ("EIO", "ESHUTDOWN", "ENOTCONN"), extra
        site.wait_state("slot0", "empty")
    serves_the_next(site, web)


# --- WebSocket frames ---

FRAMES = {
    "unmasked": (frame(BINARY, b"x", masked=False), 1002),
    "reserved bit 1": (frame(BINARY, b"x", reserved=4), 1002),
    "reserved bit 3": (frame(BINARY, b"x", reserved=1), 1002),
    "opcode 3": (frame(3, b"x"), 1002),
    "opcode 15": (frame(15, b"x"), 1002),
    "length 2^63": (frame(BINARY, b"", length=1 << 63), 1002),
    "length 2^64-1": (frame(BINARY, b"", length=(1 << 64) - 1), 1002),
    "fragmented control": (frame(PING, b"x", fin=False), 1002),
    "control of 126 bytes": (frame(PING, bytes(126)), 1002),
    "text": (frame(TEXT, b"hello"), 1003),
    "continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
    "a message in a message": (frame(BINARY, b"", fin=False) + frame(BINARY, b"x"), 1002),
    "close of 1 byte": (frame(CLOSE, b"x"), 1002),
    "close code 1005": (frame(CLOSE, struct.pack(">H", 1005)), 1002),
    "close code 999": (frame(CLOSE, struct.pack(">H", 999)), 1002),
    "close reason no utf-8": (frame(CLOSE, struct.pack(">H", 1000) + b"\xff"), 1007),
    "length not the shortest": (bytes([0x82, 0xFE, 0, 5]) + bytes(9), 1002),
}


@pytest.mark.parametrize("lie", FRAMES)
def test_a_wrong_frame_ends_the_connection(site, lie):
    web = site.plain()
    bad, code = FRAMES[lie]
    for when in ("handshake", "serving"):
        browser = Browser(web, IMAGE, flavour="jsnbd", begin=False)
        browser.connect()
        if when == "serving":
            browser.begin()
            ready(site, browser)
            browser.socket.wire.sendall(bad)
            assert browser.wait_end() == code
        else:
            browser.socket.wire.sendall(bad)
            with pytest.raises(Ended):
                while True:
                    browser.socket.read()
            assert browser.socket.code == code
        site.wait_state("slot0", "empty")
    serves_the_next(site, web)


@pytest.mark.plain
def test_a_flood_of_pings_is_bounded(site):
    web = site.plain()
    browser = Browser(web, IMAGE, flavour="jsnbd", begin=False)
    browser.connect()
    site.daemon.reset_rss()
    before = site.daemon.rss()
    browser.socket.wire.socket.settimeout(1)
    pings = b"".join(frame(PING, bytes(125)) for _ in range(1000))
    sent = 0
    try:
        while sent < 64 << 20:
            browser.socket.wire.sendall(pings)  # and no pong is read
            sent += len(pings)
    except OSError:
        pass  # it stopped reading, as it should
    if not SANITIZED:
        assert site.daemon.rss() - before < 4 << 20
    assert site.web().get("/api/slots").status == 401  # others are served
    browser.socket.wire.cut()
    serves_the_next(site, web)


@pytest.mark.plain
@pytest.mark.parametrize("size,count", [(128 << 10, 1000), (10 << 20, 1)])
def test_a_flood_of_messages_is_bounded(site, size, count):
    """Messages that nobody asked for: a thousand, or one of 10 MiB."""
    web = site.plain()
    browser = ready(site, Browser(web, IMAGE, flavour="jsnbd"))
    site.daemon.reset_rss()
    before = site.daemon.rss()
    try:
        for _ in range(count):
            browser.socket.send(BINARY, bytes(size))
    except OSError:
        pass
    assert browser.wait_end() in (1002, 1006)
    if not SANITIZED:
        assert site.daemon.rss() - before < 8 << 20
    serves_the_next(site, web)


@pytest.mark.plain
def test_a_host_that_does_not_take_its_answers_stops_the_browser(site):
    """Backpressure from the host's socket to the browser: what nobody takes is not asked for. A thousand answers of
    128 KiB, and each byte of them arrives once the host takes them."""
    web, image = site.plain(), Sparse(1 << 30)
    browser = ready(site, Browser(web, image, "small", flavour="jsnbd"))
    site.daemon.reset_rss()
    before = site.daemon.rss()
    host = site.daemon.connect("small.sock")
    take = host.makefile("rb").read
    greeting = take(18)
    assert greeting.startswith(b"NBDMAGIC")
    host.sendall(struct.pack(">I8sII", 3, b"IHAVEOPT", 1, 0))
    assert len(take(10)) == 10
    size, count = 128 << 10, 1000

    def ask():
        for i in range(count):
            host.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, i, i * size, size))

    asking = threading.Thread(target=ask)
    asking.start()
    last, since = -1, time.monotonic()
    while time.monotonic() - since < 1:  # until nothing moves any more
        if len(browser.requests) != last:
            last, since = len(browser.requests), time.monotonic()
        time.sleep(0.02)
    fetched = sum(length for kind, _, length in browser.requests if kind == READ)
    assert fetched < count * size
    if not SANITIZED:
        assert site.daemon.rss() - before < 96 << 20
    assert site.web().get("/api/slots").status == 401
    left = set(range(count))
    while left:
        magic, error, cookie = struct.unpack(">IIQ", take(16))
        assert (magic, error) == (REPLY_MAGIC, 0)
        assert take(size) == image.read(cookie * size, size)
        left.remove(cookie)
    asking.join()
    host.close()


# --- whose slot it is ---


def test_a_busy_slot_is_not_taken_over(site):
    web, other = site.web("admin"), site.web("operator")
    browser = ready(site, Browser(web, IMAGE, "slot1"))
    answers = []
    for _ in range(5):
        with pytest.raises(Refused) as caught:
            Browser(other, some(100_000, seed=8), "slot1", flavour="webui-vue")
        answers.append(caught.value.answer.status)
        assert other.insert("slot1", "https://127.0.0.1:1/x").status == 409
    assert answers == 5 * [409] and browser.code is None
    assert handle(site.uri("slot1")).pread(4096, 0) == IMAGE.data[:4096]
    browser.stop()
    site.wait_state("slot1", "empty")
    ready(site, Browser(other, some(100_000, seed=8), "slot1", flavour="webui-vue")).stop()
    browser = ready(site, Browser(web, IMAGE))
    with pytest.raises(Refused):
        Browser(other, IMAGE, flavour="webui-vue")
    browser.cut()  # a loss frees it too, when nobody waits for who was lost
    site.wait_state("slot0", "empty")
    ready(site, Browser(other, some(100_000, seed=8), flavour="webui-vue"))
    assert handle(site.uri()).pread(4096, 0) == some(100_000, seed=8).data[:4096]


def test_two_at_once_are_one(site):
    """Both were let in when the slot was empty: one has it, the other is told."""
    web = site.web("admin")
    tickets = [web.ticket("slot0", Browser(web, IMAGE, begin=False).identity).json() for _ in range(4)]
    sockets, refusals, lock = [], [], threading.Lock()

    def connect(ticket):
        try:
            socket = WebSocket(web, ticket["url"], ticket["protocol"])
            with lock:
                sockets.append(socket)
        except Refused as refused:
            with lock:
                refusals.append(refused.answer.status)

    threads = [threading.Thread(target=connect, args=(ticket,)) for ticket in tickets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sockets) == 1 and refusals == 3 * [409]
    sockets[0].wire.cut()


# --- any order ---


def test_any_two_actions_in_any_order(site, nginx):
    """Every ordered pair of what a client can do to a slot, the second while the first is under way."""
    web = site.plain()
    web.login("admin")
    image, url = some(20_000), nginx.url("image.iso", "http")
    state = {}

    def connect():
        try:
            browser = Browser(web, image, flavour="jsnbd")
            state["browser"] = browser
        except Refused as refused:
            assert refused.answer.status == 409

    def silent():
        try:
            state["silent"] = Browser(web, image, flavour="webui-vue", greeting=b"")
        except Refused as refused:
            assert refused.answer.status == 409

    def insert():
        assert web.insert("slot0", url).status in (200, 409)

    def eject():
        assert web.eject("slot0").status == 200

    def ticket():
        assert web.ticket("slot0", {"name": "x", "size": 5, "lastModified": 1, "samples": []}).status in (200, 409)

    def cut():
        if "browser" in state:
            state["browser"].cut()

    def read():
        try:
            handle(site.uri()).pread(512, 0)
        except nbd.Error:
            pass

    def refuse():
        with pytest.raises(Refused):
            WebSocket(web, "/nbd/0", "wrong")

    def stop():
        if "browser" in state:
            state["browser"].stop()

    def log_out():
        mine = site.plain()
        mine.login("operator")
        try:
            state["mine"] = Browser(mine, image, flavour="webui-vue")
        except Refused as refused:
            assert refused.answer.status == 409
        assert mine.logout().status == 200

    def reload():
        assert site.daemon.ask("reload")[-1].startswith("ok")

    actions = [connect, silent, insert, eject, ticket, cut, read, refuse, stop, log_out, reload]
    for first, second in itertools.product(actions, actions):
        state.clear()
        failures = []

        def run(action):
            try:
                action()
            except BaseException as failure:
                failures.append((action.__name__, failure))

        threads = [threading.Thread(target=run, args=(action,)) for action in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not failures, (first.__name__, second.__name__, failures)
        assert web.eject("slot0").status == 200
        site.wait_state("slot0", "empty")
        for browser in state.values():
            browser.wait_end()
    web.logout()
    serves_the_next(site, site.plain())
