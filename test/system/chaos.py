"""Clients of every door that do anything at any time and are cut off anywhere, against one daemon, until told to stop.

What comes back is looked at: an image is known by its size, so a host's read is right, an error, or wrong; whole requests and
reads end in time. What a client sends is cut after each of its bytes in turn, or all of it is sent and the client goes at a
random moment round the answer, or after a part of it."""
import collections
import contextlib
import json
import random
import signal
import socket
import struct
import threading
import time

from browser import Browser, Ended, Image, Refused
from chaos_peers import CACHE, CONTENT, FLUSH, GO, LIST, READ, READ_ONLY, SERVED, SHOWN, STORED, STRUCTURED, TRIM, WRITE, WRITE_ZEROES, Host
from conftest import TOP
from website import PASSWORDS, Web, Wire

ANSWER = 60  # seconds: who waits longer has been forgotten; io-timeout is a few
MANAGER = "/redfish/v1/Managers/bmc/VirtualMedia"
SESSIONS, ACCOUNTS = "/redfish/v1/SessionService/Sessions", "/redfish/v1/AccountService/Accounts"
DOCUMENTS = ("/redfish/v1", f"{MANAGER}?$expand=.", f"{MANAGER}/Slot_0", f"{SESSIONS}?$expand=.", "/redfish/v1/$metadata", ACCOUNTS,
             "/redfish/v1/Systems/system", "/redfish/v1/EventService/Subscriptions", "/redfish/v1/Registries/NbdProxy/NbdProxy",
             "/api/slots", "/api/slots/cd/heat", "/api/uploads", "/", "/page.js", "/nowhere", "/redfish/v1/Nothing")
SLOTS = ("cd", "stick", "over", "extra")  # not all are always there


# --- a client's end ---


def go(wire, how):
    """A client goes: in order, with a reset, with its half of the connection first, or at once in both directions."""
    sock = wire.socket
    with contextlib.suppress(OSError):
        if how == "half":
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(0.05)
            sock.recv(1000)
        elif how == "both":
            sock.shutdown(socket.SHUT_RDWR)
        elif how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how == "orderly" and wire.tls:
            wire.close()
    sock.close()


GOING = ("close", "reset", "half", "both", "orderly")


class Cuts:
    """After how many bytes the next message of a kind is cut: each number once, in a random order, then again."""

    def __init__(self, rng):
        self.random, self.left, self.lock = rng, collections.defaultdict(list), threading.Lock()
        self.whole = collections.Counter()  # how often each kind has been cut after every byte

    def next(self, kind, length):
        with self.lock:
            left = self.left[kind]
            if not left:
                left += self.random.sample(range(length), length)
            at = left.pop()
            self.whole[kind] += not left
            return min(at, length - 1)


# --- all of it ---


class Chaos:
    """`count`: what was done, by kind. `faults`: what the daemon did and may not do. Runs in threads until stop()."""

    WORKERS = 6

    def __init__(self, site, origin, files, certificate, seed):
        self.site, self.origin, self.files, self.certificate, self.seed = site, origin, files, certificate, seed
        self.random = random.Random(seed)
        self.cuts = Cuts(self.random)
        self.count, self.faults, self.lock = collections.Counter(), [], threading.Lock()
        self.tokens, self.longest = [], (0, "")
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=Worker(self, random.Random(f"{seed} {n}")).run) for n in range(self.WORKERS)]
        for thread in self.threads:
            thread.start()

    def add(self, what, n=1):
        with self.lock:
            self.count[what] += n

    def summary(self):
        swept = sum(n > 0 for n in self.cuts.whole.values())
        return f"{dict(self.count)}; {len(self.cuts.left)} kinds of messages, {swept} cut after every byte; the longest took {self.longest}; {len(self.faults)} faults"

    def stop(self):
        self.ending.set()
        for thread in self.threads:
            thread.join()


def configuration(rng, folder, files, constant=False):
    """The keys of [web], the slots and the rest; as after the chaos, or another one."""
    pick = (lambda choices: choices[0]) if constant else rng.choice
    slots = {"cd": {}, "stick": {"media": "disk"}, "over": {"media": "disk", "overlay": "memory"}, "extra": {}}
    for name in SLOTS:
        slots[name].update({"reconnect-grace": pick(("0s", "300ms", "1s")), "max-connections": pick((16, 2, 5))})
        if name == "over":
            slots[name]["overlay"] = pick(("memory", "none"))
    for name in pick(((), ("extra",), ("extra", "over"), ("stick",))):
        del slots[name]
    keys = {"upload-directory": folder / "store", "upload-size": pick(("16M", "1M")), "upload-free": "0", "web-directory": TOP / "web", "listen": "127.0.0.1:0",
            "listen-plain": f"127.0.0.1:0 unix:{folder}/web.sock", "web-connections-each": pick((64, 8))}
    more = (f"[daemon]\ncache-size = {pick(('8M', '12M', '5M'))}\ncache-slot-minimum = 1M\nfile-directory = {files}\n"
            f"[http]\nio-timeout = {pick(('4s', '2s', '1s'))}\nconnect-timeout = 2s\nstall-timeout = {pick(('2s', '1s'))}\n"
            f"http-connections = {pick((16, 2, 5))}\n")
    return keys, slots, more


class Worker:
    """One thread's doings, each from its own random numbers."""

    def __init__(self, chaos, rng):
        self.chaos, self.site, self.random = chaos, chaos.site, rng
        self.web = None

    def run(self):
        doings = [(getattr(self, name), weight) for name, weight in self.DOINGS.items()]
        methods, weights = zip(*doings)
        while not self.chaos.ending.is_set() and self.site.daemon.process.poll() is None:
            doing = self.random.choices(methods, weights)[0]
            self.chaos.add(doing.__name__)
            began = time.monotonic()
            try:
                doing()
            except TimeoutError:
                self.fault(f"{doing.__name__}: no answer in {ANSWER} s")
            except (OSError, EOFError, Ended, Refused, struct.error):
                pass  # an error, or an end
            self.chaos.longest = max(self.chaos.longest, (round(time.monotonic() - began, 1), doing.__name__))
            self.pause(0.04)

    def fault(self, words):
        with self.chaos.lock:
            self.chaos.faults.append(words)

    def pause(self, most):
        self.chaos.ending.wait(self.random.uniform(0, most))

    # --- connections ---

    def door(self):
        """A client of one of the three ways to the web server."""
        way = self.random.choice(("tls", "tcp", "unix", "unix"))
        if way == "unix":
            return Web(self.site.folder / "web.sock", None)
        return Web(self.site.address("https")) if way == "tls" else Web(self.site.address("http", 0), None)

    def connect(self, name=None):
        """To a UNIX socket of the daemon, or to a web door."""
        return Wire(self.site.folder / name, None, timeout=ANSWER) if name else self.door().connect(ANSWER)

    def go(self, wire):
        go(wire, self.random.choice(GOING))
        self.chaos.add("cuts")

    def cut(self, kind, data, name=None):
        """Sends it up to the next byte that it was not yet cut after, and goes."""
        wire = self.connect(name)
        try:
            at = self.chaos.cuts.next(kind, len(data))
            if wire.tls and self.random.random() < 0.5:  # in the middle of a record
                wire.tls.write(data)
                data = wire.outgoing.read()
                wire.socket.sendall(data[: min(at, len(data) - 1)])
            else:
                wire.sendall(data[:at])
        finally:
            self.go(wire)

    def at_the_answer(self, data, name=None):
        """Sends all, and goes at a random moment or after a part of the answer."""
        wire = self.connect(name)
        try:
            wire.sendall(data)
            if self.random.random() < 0.5:
                until = time.perf_counter() + 10 ** self.random.uniform(-5, -1.3)
                while time.perf_counter() < until:
                    if until - time.perf_counter() > 0.001:
                        time.sleep(0.0005)
            else:
                wire.recv(self.random.choice((1, 10, 100, 1000)))
        finally:
            self.go(wire)

    def send(self, kind, data, name=None):
        """In one of the ways to end or not to end it; of many cuts one is a whole one."""
        way = self.random.random()
        if way < 0.4:
            for _ in range(self.random.choice((1, 5, 20))):
                self.cut(kind, data, name)
        elif way < 0.7:
            self.at_the_answer(data, name)
        else:
            return self.whole(data, name)
        return None

    def whole(self, data, name=None):
        """What comes up to the end of the connection, which the message asks for."""
        wire = self.connect(name)
        try:
            if not wire.tls and self.random.random() < 0.2:  # in pieces
                at = self.random.randrange(len(data))
                wire.sendall(data[:at])
                self.pause(0.02)
                data = data[at:]
            wire.sendall(data)
            if name:
                wire.socket.shutdown(socket.SHUT_WR)
            answer = b""
            while part := wire.recv():
                answer += part
            self.chaos.add("answers")
            return answer
        finally:
            wire.cut(reset=False)

    # --- HTTP ---

    def token(self):
        if not self.chaos.tokens or self.random.random() < 0.01:
            self.session()
        return {"X-Auth-Token": self.random.choice(self.chaos.tokens or ["none"])}

    def session(self):
        user = self.random.choice(("admin", "admin", "operator"))
        answer = self.door().post(SESSIONS, {"UserName": user, "Password": PASSWORDS[user]})
        if answer and answer.status == 201:
            self.chaos.tokens.append(answer.get("X-Auth-Token"))
            del self.chaos.tokens[:-8]

    def url(self):
        return self.chaos.origin.url(f"{self.random.choice(('good', 'slow', 'bad', 'bad', 'moved'))}/{self.random.choice(list(SERVED))}")

    def request(self, last=True):
        """A kind and the bytes of a request of it."""
        pick = self.random.choice
        slot, number = pick(SLOTS), self.random.randrange(len(SLOTS))
        actions = f"{MANAGER}/Slot_{number}/Actions/VirtualMedia"
        method, path, what = pick((
            ("GET", pick(DOCUMENTS), None), ("GET", pick(DOCUMENTS), None), ("HEAD", pick(DOCUMENTS), None),
            ("POST", f"{actions}.InsertMedia", {"Image": self.url()}),
            ("POST", f"{actions}.InsertMedia", {"Image": self.url(), "Inserted": True, "WriteProtected": True}),
            ("POST", f"{actions}.EjectMedia", {}),
            ("PATCH", f"{MANAGER}/Slot_{number}", {"Image": pick((self.url(), None))}),
            ("PATCH", f"{MANAGER}/Slot_{number}", {"EjectPolicy": pick(("Timed", "Session", "Persistent")), "EjectTimeout": "PT1S"}),
            ("POST", f"{MANAGER}/Slot_{number}/Certificates", {"CertificateString": self.chaos.certificate, "CertificateType": "PEM"}),
            ("DELETE", f"{MANAGER}/Slot_{number}/Certificates/{pick('123')}", None),
            ("PATCH", f"{ACCOUNTS}/reader", {"Enabled": pick((True, False))}),
            ("POST", f"/api/slots/{slot}/insert", {"url": pick((self.url(), f"upload:{pick(list(STORED))}"))}),
            ("POST", f"/api/slots/{slot}/eject", {}),
            ("POST", f"/api/slots/{slot}/ticket", {"name": "disk.iso", "size": 5000, "lastModified": 1, "samples": []}),
            ("DELETE", f"/api/uploads/{pick(list(STORED))}", None), ("HEAD", f"/api/uploads/{pick(list(STORED))}", None),
        ))
        body = b"" if what is None else json.dumps(what).encode()
        fields = {"Content-Type": "application/json" if body else None, "Connection": "close" if last else None, **self.token()}
        return f"{method} {path.split('?')[0]}", self.door().text(method, path, fields, body)

    def web_request(self):
        self.send(*self.request())

    def pipeline(self):
        messages = [self.request(last=False)[1] for _ in range(self.random.choice((2, 5, 20, 70)))]
        data = b"".join(messages) + self.request()[1]
        if self.random.random() < 0.5:
            self.at_the_answer(data)
        else:
            self.cut(f"{len(messages)} requests", data)

    def slow_reader(self):
        """Asks for more than fits into the sockets, and reads a little now and then."""
        wire = self.connect()
        try:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.sendall(self.door().text("GET", "/redfish/v1/$metadata", {**self.token(), "Connection": None}) * 30)
            for _ in range(self.random.randrange(20)):
                wire.recv(self.random.choice((1, 1000)))
                self.pause(0.1)
        finally:
            self.go(wire)

    def log_in_and_out(self):
        user = self.random.choice(("admin", "operator"))
        body = f'{{"user": "{user}", "password": "{PASSWORDS[user]}"}}'.encode()
        self.send("login", self.door().text("POST", "/api/session", {"Content-Type": "application/json"}, body))
        if self.random.random() < 0.3:
            token = {"X-Auth-Token": self.chaos.tokens.pop()} if self.chaos.tokens else self.token()
            self.send("logout", self.door().text("DELETE", "/api/session", token))

    def events(self):
        """A stream that is read for a while, slowly or not."""
        path = self.random.choice(("/api/events", "/redfish/v1/EventService/SSE"))
        wire = self.connect()
        try:
            wire.sendall(self.door().text("GET", path, {**self.token(), "Connection": None}))
            wire.socket.settimeout(0.2)
            for _ in range(self.random.randrange(10)):
                with contextlib.suppress(TimeoutError):
                    wire.recv(self.random.choice((1, 100, 100_000)))
                self.pause(0.1)
        finally:
            self.go(wire)

    def upload(self):
        name = self.random.choice(list(STORED))
        data = CONTENT[STORED[name]]
        fields = dict(self.token())
        if self.random.random() < 0.4:
            first = self.random.choice((0, 0, len(data) // 2))
            last = self.random.choice((len(data) // 2, len(data))) if first == 0 else len(data)
            fields["Content-Range"] = f"bytes {first}-{last - 1}/{len(data)}"
            data = data[first:last]
        self.send(f"PUT {name} {len(data)}", self.door().text("PUT", f"/api/uploads/{name}", fields, data))

    # --- the control socket ---

    def control(self):
        pick, slot = self.random.choice, self.random.choice(SLOTS)
        kind, line = pick((
            ("insert", f"insert {slot} {self.url()}"), ("insert", f"insert {slot} {self.url()}"),
            ("insert replace", f"insert {slot} {self.url()} replace"),
            ("insert file", f"insert {slot} {self.chaos.files}/file.img writable={pick(('yes', 'no'))}"),
            ("insert upload", f"insert {slot} upload:{pick(list(STORED))}"), ("eject", f"eject {slot}"), ("eject", f"eject {slot}"),
            ("status", pick(("status", "status --json", "slots", "stats", "cache", "help", "host status"))),
            ("trace", f"trace {pick(('on', 'off'))} {slot}"), ("reload", "reload"), ("garbage", 'insert "\\" \0 \xff'),
        ))
        lines = line.encode("latin-1") + b"\n"
        if self.random.random() < 0.2:
            kind, lines = f"10 times {kind}", lines * 10
        self.send(f"control {kind}", lines, "control.sock")

    def watch(self):
        wire = self.connect("control.sock")
        try:
            wire.sendall(f"watch {self.random.choice(SLOTS)}\n".encode())
            self.pause(1.5)
            if self.random.random() < 0.5:
                wire.sendall(b"status\n")
        finally:
            self.go(wire)

    def reload(self):
        with self.chaos.lock:
            self.site.configure(*configuration(self.random, self.site.folder, self.chaos.files))
        if self.random.random() < 0.5:
            self.site.daemon.process.send_signal(signal.SIGHUP)
        else:
            self.whole(b"reload\n", "control.sock")

    # --- NBD ---

    def nbd_cut(self):
        """The handshake and requests, cut anywhere."""
        hello = struct.pack(">I", 3) + b"".join(b"IHAVEOPT" + struct.pack(">II", option, 0) for option in (LIST, STRUCTURED))
        hello += b"IHAVEOPT" + struct.pack(">IIIH", GO, 6, 0, 0)
        hello += b"".join(struct.pack(">IHHQQI", 0x25609513, 0, READ, n, n * 65536, 65536) for n in range(8))
        name = f"{self.random.choice(SLOTS)}.sock"
        if self.random.random() < 0.5:
            self.at_the_answer(hello, name)
        else:
            for _ in range(10):
                self.cut("NBD", hello, name)

    def nbd(self):
        """Reads and writes; the client goes with some of them under way, or reads slowly, or all is answered."""
        wire = self.connect(f"{self.random.choice(SLOTS)}.sock")
        try:
            host = Host(wire, structured=self.random.random() < 0.5)
            for _ in range(self.random.choice((1, 1, 3))):
                sent, data = self.some_requests(host)
                wire.sendall(data)
                going = self.random.random() < 0.3
                slow = self.random.random() < 0.1
                count = self.random.randrange(len(sent)) if going else 0
                while len(sent) > count:
                    wrong = host.answer(sent)
                    if wrong:
                        self.fault(wrong)
                        return
                    self.chaos.add("replies")
                    if slow:
                        self.pause(0.1)
                if going:
                    return
        finally:
            self.go(wire)

    def some_requests(self, host):
        kinds = (READ, READ, READ, CACHE, 99) if host.flags & READ_ONLY else (READ, READ, WRITE, TRIM, WRITE_ZEROES, FLUSH, CACHE)
        sent, data = {}, b""
        for _ in range(self.random.choice((1, 4, 16, 30))):
            kind, cookie = self.random.choice(kinds), self.random.getrandbits(64)
            offset = self.random.randrange(host.size)
            length = self.random.choice((1, 512, 4096, 65536, 400_000))
            if kind in (WRITE, TRIM, WRITE_ZEROES) or self.random.random() < 0.9:  # else past the end
                length = min(length, host.size - offset)
            if kind in (FLUSH, 99):
                offset = length = 0
            sent[cookie] = (kind, offset, length)
            data += host.request(kind, cookie, offset, length)
        return sent, data

    # --- browsers ---

    def login(self):
        """A page's; Refused while there are too many."""
        user = self.random.choice(("admin", "operator"))
        web = self.door()
        answer = web.try_login(user, PASSWORDS[user])
        if not answer or answer.status != 200:
            raise Refused(answer)
        web.cookies = dict(cookie.split(";")[0].split("=", 1) for cookie in answer.all("Set-Cookie"))
        web.csrf, web.user = answer.json()["csrf"], user
        return web

    def browser(self):
        """A file is shown for a while; then the browser goes, after any byte of what it sends, or says what is wrong."""
        if not self.web or self.random.random() < 0.1:
            self.web = self.login()
        name = self.random.choice(list(SHOWN))
        slot = self.random.choice(SLOTS)
        flavour = self.random.choice(("page", "page", "jsnbd", "webui-vue"))
        more = {} if self.random.random() < 0.4 else {"budget": int(10 ** self.random.uniform(0, 6)), "at_budget": self.gone}
        try:
            browser = Browser(self.web, Image(CONTENT[SHOWN[name]]), slot, flavour, path=f"/nbd/{slot}", name=name, **more)
        except Refused as refused:
            if refused.answer and refused.answer.status in (401, 403):
                self.web = None  # the session went
            raise
        how = self.random.choice(("cut", "close", "stop"))
        opcode, garbage = self.random.randrange(16), self.random.randbytes(self.random.choice((0, 5, 130)))
        try:
            browser.ended.wait(self.random.choice((0.01, 0.2, 2)))
            if self.random.random() < 0.3 and not browser.ended.is_set():
                how += f" after {len(garbage)} bytes of {opcode}"
                browser.socket.send(opcode, garbage)
        finally:
            browser.stop() if how.startswith("stop") else browser.cut(reset=how.startswith("cut"))
            if not browser.ended.wait(2 * ANSWER) or isinstance(browser.error, TimeoutError):
                self.fault(f"a WebSocket of {flavour} at {slot} was not closed in {ANSWER} s: {how}, {more}, {browser.requests[-3:]}")
                browser.cut()
        for fault in browser.faults:
            self.fault(f"browser: {fault}")

    @staticmethod
    def gone(browser):
        browser.socket.wire.cut(reset=random.random() < 0.5)

    DOINGS = {"web_request": 24, "pipeline": 4, "slow_reader": 1, "log_in_and_out": 1, "events": 4, "upload": 6, "control": 20, "watch": 1,
              "reload": 1, "nbd_cut": 6, "nbd": 30, "browser": 8}
