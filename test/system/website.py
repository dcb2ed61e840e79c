"""The daemon's web server as a client sees it: connections, requests, logins, and daemons that have one."""
import json
import pathlib
import re
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import threading

import pytest

from conftest import Daemon, binary, wait_for

PASSWORDS = {"admin": "correct horse", "operator": "battery staple", "reader": "paper clips", "gone": "has left us"}
ROLES = {"admin": "Administrator", "operator": "Operator", "reader": "ReadOnly", "gone": "ReadOnly"}
COOKIE = "__Host-nbd-proxy-[0-9a-f]{8}"  # one of each daemon's own


def passwd(path, *arguments, given=""):
    subprocess.run([binary(), "passwd", "--file", str(path), *arguments], input=given, text=True, check=True,
                   capture_output=True, timeout=60)


def tls_context(ca=None, pair=None):
    """Trusts everybody unless it is given whom."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca:
        context.load_verify_locations(str(ca))
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if pair:
        context.load_cert_chain(*map(str, pair))
    return context


ANYBODY = tls_context()


class Wire:
    """A connection, by TLS or without, that one thread may read while another writes."""

    def __init__(self, address, context=ANYBODY, source=None, timeout=60):
        self.tls = None
        if isinstance(address, tuple):
            self.socket = socket.create_connection(address, timeout, (source, 0) if source else None)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(str(address))
        self.lock, self.writing = threading.Lock(), threading.Lock()
        if context:
            try:
                self.handshake(context)
            except BaseException:
                self.socket.close()
                raise

    def handshake(self, context):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        while True:
            try:
                self.tls.do_handshake()
                self.socket.sendall(self.outgoing.read())
                return
            except ssl.SSLWantReadError:
                self.socket.sendall(self.outgoing.read())
                self.feed()

    def feed(self):
        data = self.socket.recv(1 << 18)
        with self.lock:
            if data:
                self.incoming.write(data)
            else:
                self.incoming.write_eof()

    def recv(self, size=1 << 18):
        """b"" at an orderly end; ConnectionResetError at one without close_notify."""
        if not self.tls:
            return self.socket.recv(size)
        while True:
            with self.lock:
                try:
                    return self.tls.read(size)
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLZeroReturnError:
                    return b""
                except ssl.SSLEOFError:
                    raise ConnectionResetError("cut") from None
            self.feed()

    def sendall(self, data):
        with self.writing:
            if self.tls:
                with self.lock:
                    for at in range(0, len(data), 1 << 20):
                        self.tls.write(data[at : at + (1 << 20)])
                    data = self.outgoing.read()
            self.socket.sendall(data)

    def read_all(self):
        """What comes until the end, however it ends."""
        data = b""
        try:
            while part := self.recv():
                data += part
        except ConnectionResetError:
            pass
        return data

    def close(self):
        if self.tls:
            try:
                with self.lock:
                    self.tls.unwrap()
            except (ssl.SSLError, OSError):
                pass
            try:
                self.socket.sendall(self.outgoing.read())
            except OSError:
                pass
        self.cut(reset=False)

    def cut(self, reset=True):
        """As when the network or the machine goes: without a word."""
        try:
            if reset:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.close()


class Answer:
    def __init__(self, status, fields, body, rest=b""):
        self.status, self.fields, self.body, self.rest = status, fields, body, rest

    def all(self, name):
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def get(self, name):
        values = self.all(name)
        assert len(values) < 2, values
        return values[0] if values else None

    def json(self):
        assert self.get("Content-Type") == "application/json", self
        return json.loads(self.body)

    @property
    def error(self):
        return self.json()["error"]

    def __repr__(self):
        return f"{self.status} {self.fields} {self.body[:400]!r}"


class AnswerReader:
    """Answers from a wire, one after the other; None at its end."""

    def __init__(self, wire):
        self.wire, self.buffer = wire, b""

    def more(self):
        data = self.wire.recv()
        self.buffer += data
        return data

    def take(self, size):
        while len(self.buffer) < size:
            if not self.more():
                raise ConnectionResetError("the answer is not whole")
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def line(self):
        while b"\r\n" not in self.buffer:
            if not self.more():
                raise ConnectionResetError("the answer is not whole")
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def head(self):
        status = int(re.fullmatch(rb"HTTP/1\.1 (\d{3}) [ -~]*", self.line())[1])
        fields = []
        while line := self.line():
            name, value = line.decode("latin-1").split(": ", 1)
            fields.append((name, value))
        return Answer(status, fields, b"")

    def body(self, answer):
        if answer.get("Transfer-Encoding") == "chunked":
            while size := int(self.line(), 16):
                answer.body += self.take(size)
                assert self.take(2) == b"\r\n"
            assert self.line() == b""
        else:
            answer.body = self.take(int(answer.get("Content-Length") or 0))

    def next(self, method="GET"):
        if not self.buffer and not self.more():
            return None
        answer = self.head()
        if method != "HEAD" and answer.status >= 200 and answer.status not in (204, 304):
            self.body(answer)
        answer.rest = self.buffer
        return answer


class Web:
    """A client of one address: a browser with its cookies, or a script. Each request has its own connection."""

    def __init__(self, address, context=ANYBODY, source=None):
        self.address, self.context, self.source = address, context, source
        self.host = f"127.0.0.1:{address[1]}" if isinstance(address, tuple) else "localhost"
        self.origin = ("https://" if context else "http://") + self.host
        self.cookies, self.csrf, self.user = {}, None, None

    def connect(self, timeout=60):
        return Wire(self.address, self.context, self.source, timeout)

    def text(self, method, path, headers=(), body=b"", cookies=True):
        """A request as bytes."""
        fields = {"Host": self.host, "Connection": "close"}
        if cookies and self.cookies:
            fields["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        if cookies and self.csrf and method not in ("GET", "HEAD"):
            fields["X-CSRF-Token"] = self.csrf
        if body or method in ("POST", "PUT"):
            fields["Content-Length"] = str(len(body))
        fields.update(headers)
        lines = [f"{method} {path} HTTP/1.1"] + [f"{k}: {v}" for k, v in fields.items() if v is not None]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body

    def raw(self, data, method="GET"):
        """The answer to these bytes; None if there is none."""
        with self.connect() as wire:
            try:
                wire.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                pass
            return AnswerReader(wire).next(method)

    def ask(self, method, path, what=None, headers=(), body=b"", cookies=True):
        fields = dict(headers)
        if what is not None:
            body = json.dumps(what).encode()
            fields.setdefault("Content-Type", "application/json")
        return self.raw(self.text(method, path, fields, body, cookies), method)

    def get(self, path, **more):
        return self.ask("GET", path, **more)

    def post(self, path, what=None, **more):
        return self.ask("POST", path, {} if what is None else what, **more)

    def ok(self, method, path, what=None, **more):
        answer = self.ask(method, path, what, **more)
        assert answer is not None and 200 <= answer.status < 300, answer
        return answer

    # --- what the page does ---

    @property
    def cookie(self):
        """The name of the page's cookie, after a login."""
        return next(name for name in self.cookies if re.fullmatch(COOKIE, name))

    def try_login(self, user, password):
        return self.post("/api/session", {"user": user, "password": password})

    def login(self, user, password=None):
        answer = self.try_login(user, password or PASSWORDS[user])
        assert answer.status == 200, answer
        for cookie in answer.all("Set-Cookie"):
            name, value = cookie.split(";")[0].split("=", 1)
            self.cookies[name] = value
        self.csrf, self.user = answer.json()["csrf"], user
        return self

    def logout(self):
        answer = self.ask("DELETE", "/api/session")
        self.forget()
        return answer

    def forget(self):
        self.cookies, self.csrf, self.user = {}, None, None

    def slots(self):
        return {slot["name"]: slot for slot in self.ok("GET", "/api/slots").json()["slots"]}

    def slot(self, name="slot0"):
        return self.slots()[name]

    def insert(self, slot, url, **more):
        return self.post(f"/api/slots/{slot}/insert", {"url": url, **more})

    def eject(self, slot):
        return self.post(f"/api/slots/{slot}/eject")

    def ticket(self, slot, identity):
        return self.post(f"/api/slots/{slot}/ticket", identity)


def no_answer(web):
    """The connection is refused or ended."""
    try:
        return web.get("/api/slots") is None
    except OSError:
        return True


class Site:
    """A daemon with a web server on a loopback port that the kernel chose, and accounts."""

    def __init__(self, place, accounts, keys=(), slots=None, more=""):
        place.mkdir(exist_ok=True)
        self.folder, self.users = place, place / "web" / "users"
        self.users.parent.mkdir(mode=0o700)
        if accounts:
            shutil.copy(accounts, self.users)
            self.users.chmod(0o600)
        self.keys = {"users-file": self.users, "listen": "127.0.0.1:0", **dict(keys)}
        self.slots = slots or {"slot0": {}, "slot1": {"media": "disk"}}
        self.more = more
        self.daemon = Daemon(place, config=self.config())
        self.pages = []

    def config(self):
        lines = ["[web]"] + [f"{k} = {v}" for k, v in self.keys.items()]
        for name, keys in self.slots.items():
            lines += [f"[slot {name}]"] + [f"{k} = {v}" for k, v in {"attach": "socket", **keys}.items()]
        return "\n".join(lines) + "\n" + self.more

    def reload(self, **keys):
        """By SIGHUP, as an administrator does; dashes in keys are underscores here."""
        self.keys.update({k.replace("_", "-"): v for k, v in keys.items()})
        self.daemon.config.write_text(self.config())
        return self.daemon.ask("reload")

    def listening(self, scheme="https"):
        return re.findall(rf"listening on (\S+) \({scheme}\)", self.daemon.log())

    def address(self, scheme="https", nth=-1):
        host, port = self.listening(scheme)[nth].rsplit(":", 1)
        return (host.strip("[]"), int(port))

    def web(self, user=None, source=None, context=ANYBODY):
        """A client, logged in if it is somebody; logged out when the site is reset."""
        web = Web(self.address(), context, source)
        if user:
            self.pages.append(web.login(user))
        return web

    def plain(self):
        """A client without TLS, for what is tried behind it."""
        return Web(self.address("http"), None)

    def uri(self, slot="slot0"):
        return self.daemon.uri(slot)

    def wait_state(self, slot, state, seconds=30):
        wait_for(lambda: self.status(slot)["state"] == state, f"{slot} to be {state}", seconds)

    def status(self, slot="slot0"):
        """What the control socket says of it."""
        with self.daemon.connect() as s:
            s.sendall(b"status --json\n")
            line = s.makefile(encoding="utf-8", newline="\n").readline()
        return next(s for s in json.loads(line)["slots"] if s["name"] == slot)

    def reset(self):
        """Empties all slots and ends all sessions."""
        assert self.daemon.process.poll() is None, self.daemon.log()
        for page in self.pages:
            if page.user:
                page.logout()
        self.pages.clear()
        self.daemon.ask(*[f"eject {name}" for name in self.slots])
        for name in self.slots:
            self.wait_state(name, "empty")

    def stop(self):
        try:
            self.daemon.stop()
        finally:
            if self.daemon.process.poll() is None:
                self.daemon.process.kill()
                self.daemon.process.wait()


def make_place():
    return pathlib.Path(tempfile.mkdtemp(prefix="np-", dir="/tmp"))


@pytest.fixture(scope="session")
def accounts(tmp_path_factory):
    """A users file with an account of each role, and one that is disabled."""
    path = tmp_path_factory.mktemp("accounts") / "users"
    for name, password in PASSWORDS.items():
        passwd(path, "--role", ROLES[name], name, given=password + "\n")
    passwd(path, "--disable", "gone")
    return path


@pytest.fixture
def new_site(folder, accounts):
    """A function that starts daemons of the test's own."""
    started = []

    def start(users=accounts, **more):
        started.append(Site(folder / f"site{len(started)}", users, **more))
        return started[-1]

    yield start
    for site in started:
        site.stop()


def shared_site(accounts, **more):
    """For a fixture of a whole module; its tests reset it."""
    place = make_place()
    site = Site(place / "site", accounts, **more)
    try:
        yield site
        site.stop()
    finally:
        if site.daemon.process.poll() is None:
            site.daemon.process.kill()
            site.daemon.process.wait()
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def site(shared):
    """The module's `shared` one, which is as it was again behind each test."""
    yield shared
    shared.reset()


def refused_start(folder, accounts=None, **keys):
    """What the daemon says that does not start."""
    users = folder / "refused" / "users"
    users.parent.mkdir(mode=0o700, exist_ok=True)
    if accounts:
        shutil.copy(accounts, users)
        users.chmod(0o600)
    command = [binary(), "--no-config", "--set", f"daemon.runtime-dir={folder}", "--set", f"web.users-file={users}"]
    for key, value in keys.items():
        command += ["--set", f"web.{key.replace('_', '-')}={value}"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode != 0 and "Sanitizer" not in run.stderr and "runtime error" not in run.stderr, run
    return run.stderr


class Events:
    """/api/events as EventSource reads it."""

    def __init__(self, web):
        self.wire = web.connect()
        self.wire.sendall(web.text("GET", "/api/events", {"Connection": "keep-alive"}))
        self.reader = AnswerReader(self.wire)
        self.answer = self.reader.head()
        if self.answer.status != 200:
            self.reader.body(self.answer)
            self.wire.close()
        self.text = b""

    def chunk(self):
        size = int(self.reader.line(), 16)
        data = self.reader.take(size)
        assert self.reader.take(2) == b"\r\n"
        return data

    def next(self):
        """The slots of the next event by name; None at the end of the stream."""
        while True:
            while b"\n\n" not in self.text:
                data = self.chunk()
                if not data:
                    return None
                self.text += data
            event, self.text = self.text.split(b"\n\n", 1)
            if event.startswith(b":"):
                continue
            first, second = event.split(b"\n")
            assert first == b"event: slots" and second.startswith(b"data: "), event
            return {slot["name"]: slot for slot in json.loads(second[6:])["slots"]}

    def wait(self, condition):
        while (slots := self.next()) is not None:
            if condition(slots):
                return slots
        raise AssertionError("the stream has ended")

    def close(self):
        self.wire.close()
