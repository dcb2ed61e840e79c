"""Every call that may fail fails once: each run of the daemon has another one that does (faults.c). What may follow is that all
is well, an error where somebody asked, or an end that says why; never a crash, a hang or a wrong byte.

FAULTS=all tries every place (minutes), FAULTS="12 90" those; else FAULTS_SEED picks a few."""
import base64
import http.server
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest

from conftest import TOP, binary, wait_for

PLACES = 12  # tried in one test run
ANSWER = 20  # seconds: what takes longer hangs
IMAGE = random.Random(1).randbytes(400_000)
PIECE = 40_000

pytestmark = pytest.mark.plain(only=True)  # a sanitizer has its own malloc


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        asked = re.match(r"bytes=(\d+)-(\d+)", self.headers["Range"] or "")
        first, last = map(int, asked.groups()) if asked else (0, len(IMAGE) - 1)
        last = min(last, len(IMAGE) - 1)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(IMAGE)}")
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        try:
            self.wfile.write(IMAGE[first : last + 1])
        except OSError:
            pass  # a daemon that ended

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):
        pass  # a daemon that ended


@pytest.fixture(scope="module")
def url():
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/image.iso"
    server.shutdown()


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = os.environ.get("CC", "").split() or [shutil.which("gcc") or shutil.which("clang") or pytest.skip("no compiler")]
    path = tmp_path_factory.mktemp("faults") / "faults.so"
    subprocess.run([*compiler, "-D_GNU_SOURCE", "-shared", "-fPIC", "-O1", "-o", path, str(TOP / "test/system/faults.c"), "-ldl"],
                   check=True)
    return path


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    path = tmp_path_factory.mktemp("users") / "users"
    subprocess.run([binary(), "passwd", f"--file={path}", "admin"], input=b"secret-pass\n", check=True, capture_output=True)
    return path


class Run:
    """A daemon, all that is asked of it, and its end: `code`, `text` (what it wrote), `right` bytes and `wrong`: whether any was not."""

    def __init__(self, folder, library, users, url, **fault):
        self.folder, self.url = folder, url
        self.code, self.right, self.wrong = None, 0, False
        folder.mkdir()
        shutil.copy(users, folder / "users")
        (folder / "files").mkdir()
        (folder / "files" / "a.img").write_bytes(IMAGE)
        self.start(library, fault)
        try:
            self.use()
        except (OSError, EOFError):
            pass  # an error, or an end
        finally:
            self.end()
        self.text = (folder / "log").read_text(errors="replace")
        shutil.rmtree(folder)

    def start(self, library, fault):
        environment = {**os.environ, "LD_PRELOAD": str(library), **{f"FAULT_{key}": str(value) for key, value in fault.items()}}
        settings = {"daemon.runtime-dir": self.folder, "daemon.file-directory": self.folder / "files",
                    "daemon.profile-directory": self.folder / "profiles", "http.allow-local": "yes", "http.io-timeout": "4s",
                    "web.listen-plain": f"unix:{self.folder}/web.sock", "web.users-file": self.folder / "users",
                    "web.upload-directory": self.folder / "uploads", "web.web-directory": TOP / "web",
                    "slot.slot0.attach": "socket", "slot.slot1.attach": "socket", "slot.slot1.overlay": "memory"}
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen([binary(), "--no-config"] + [f"--set={k}={v}" for k, v in settings.items()],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        wait_for(lambda: self.process.poll() is not None or "ready:" in (self.folder / "log").read_text(errors="replace"),
                 "the daemon", ANSWER)

    def connect(self, name):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(ANSWER)
        s.connect(str(self.folder / name))
        return s

    def control(self, line):
        with self.connect("control.sock") as s:
            s.sendall((line + "\n").encode())
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass

    def web(self, method, path, body=b""):
        login = base64.b64encode(b"admin:secret-pass").decode()
        with self.connect("web.sock") as s:
            s.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {login}\r\nConnection: close\r\n"
                      f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            while s.recv(65536):
                pass

    def read(self, slot):
        with self.connect(f"{slot}.sock") as s:
            self.receive(s, 18)
            s.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 1, 0))
            self.receive(s, 10)
            for offset in range(0, len(IMAGE), PIECE):
                s.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, offset, offset, PIECE))
                if self.receive(s, 16)[4:8] == bytes(4):
                    if self.receive(s, PIECE) == IMAGE[offset : offset + PIECE]:
                        self.right += PIECE
                    else:
                        self.wrong = True

    @staticmethod
    def receive(s, length):
        got = b""
        while len(got) < length:
            more = s.recv(length - len(got))
            if not more:
                raise EOFError
            got += more
        return got

    def use(self):
        self.each(
            lambda: self.control(f"insert slot0 {self.url}"), lambda: self.read("slot0"),
            lambda: self.control(f"insert slot1 {self.folder}/files/a.img writable=yes"), lambda: self.read("slot1"),
            lambda: self.web("GET", "/redfish/v1/Managers/bmc/VirtualMedia/Slot_0"),
            lambda: self.web("PUT", "/api/uploads/a.iso", b"hello" * 1000), lambda: self.web("GET", "/api/uploads"),
            lambda: self.web("DELETE", "/api/uploads/a.iso"), lambda: self.web("GET", "/"),
            lambda: self.control("status --json"), lambda: self.control("eject slot0"), lambda: self.control("eject slot1"))

    def each(self, *steps):
        """A step that fails is no reason to leave out those behind it, but a daemon that has ended is."""
        for step in steps:
            if self.process.poll() is None:
                try:
                    step()
                except TimeoutError:
                    self.code = "hang"
                    return
                except (OSError, EOFError):
                    pass

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            ended = self.process.wait(ANSWER)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            ended = "hang"
        self.code = self.code or ended

    def failed(self):
        return " ".join(re.findall(r"^FAULT (.*)", self.text, re.M)) or "nothing"

    def complaint(self):
        """What is wrong with how it went; empty: nothing."""
        said = [line for line in self.text.splitlines() if not line.startswith(("FAULT ", "PLACES "))]
        if self.wrong:
            return "wrong bytes"
        if self.code == "hang" or self.code < 0:
            return f"{self.code}: {said[-1:]}"
        return "" if self.code == 0 or said else f"it ended with {self.code} and no words"


def chosen(count):
    given = os.environ.get("FAULTS", "")
    if given == "all":
        return range(count)
    if given:
        return map(int, given.split())
    return random.Random(os.environ.get("FAULTS_SEED") or time.time_ns()).sample(range(count), min(count, PLACES))


def test_a_call_that_fails_is_no_crash(folder, library, users, url):
    whole = Run(folder / "whole", library, users, url)
    count = int(re.findall(r"^PLACES (\d+)", whole.text, re.M)[-1])
    assert whole.code == 0 and whole.right == 2 * len(IMAGE) and count > 50, whole.text
    bad = []
    for place in chosen(count):
        run = Run(folder / str(place), library, users, url, AT=place)
        if os.environ.get("FAULTS"):
            print(f"{place}: {run.failed()}: {run.complaint() or run.code}", flush=True)
        if run.complaint():
            bad.append(f"{place} ({run.failed()}): {run.complaint()}")
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("call", ("epoll_create1", "eventfd", "pipe2", "pthread_create"))
def test_what_can_not_be_made_is_said_before_ready(folder, library, users, url, call):
    run = Run(folder / call, library, users, url, CALL=call)
    assert call in run.failed() and "ready:" not in run.text
    assert run.code > 0 and "nbd-proxy: " in run.text, (run.code, run.text)
