"""Fixtures: the real daemon, a real nginx, certificates, images."""
import concurrent.futures
import contextlib
import hashlib
import importlib.abc
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest

for name in ("CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
    os.environ.pop(name, None)

TOP = pathlib.Path(__file__).resolve().parents[1]
SANITIZED = os.environ.get("NBD_PROXY_SANITIZED") == "1"
os.environ["PATH"] += ":/usr/sbin:/sbin"  # servers are there, and not in everybody's PATH


# --- what this machine lacks ---

PACKAGES = {"nbd": "python3-libnbd", "dbus": "python3-dbus", "gi": "python3-gi", "paramiko": "python3-paramiko",
            "pyftpdlib": "python3-pyftpdlib", "OpenSSL": "python3-openssl"}


class Lacking(importlib.abc.MetaPathFinder):
    """Asked for the modules that nobody else finds: the file that wants one is skipped."""

    def find_spec(self, name, path, target=None):
        if name in PACKAGES:
            pytest.skip(f"needs {PACKAGES[name]}", allow_module_level=True)


sys.meta_path.append(Lacking())


def lacking_program(error):
    """The name of a program that subprocess did not find. Ours must be there."""
    if error is None or not error.errisinstance(FileNotFoundError) or error.traceback[-1].name != "_execute_child":
        return None
    name = str(error.value.filename)
    ours = name == binary() or TOP in pathlib.Path(name).parents
    return None if ours or shutil.which(name) else name


def skip_what_lacks_a_program(outcome):
    if name := lacking_program(outcome.excinfo and pytest.ExceptionInfo.from_exc_info(outcome.excinfo)):
        pytest.skip(f"needs {name}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    skip_what_lacks_a_program((yield))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    skip_what_lacks_a_program((yield))


def pytest_collection_modifyitems(config, items):
    """What a sanitizer does not let happen is left to the run without; `elsewhere` is a library that wants to be loaded first."""
    for item in items:
        if "elsewhere" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.plain(only=True))
    left = [item for item in items if SANITIZED and any(mark.kwargs.get("only") for mark in item.iter_markers("plain"))]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


# --- the daemon ---


def binary():
    return os.environ.get("NBD_PROXY") or str(TOP / "build" / "quickstart" / "nbd-proxy")


def has_protocol(name):
    """Whether this build can read images by it."""
    version = subprocess.run([binary(), "--version"], check=True, capture_output=True, text=True).stdout
    return name in version.splitlines()[1].split()[1:]


def wait_for(condition, what, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"timed out waiting for {what}")


def at_once(function, arguments):
    """Calls it with each of them, each in a thread of its own. Returns the results; what one raises is raised."""
    with concurrent.futures.ThreadPoolExecutor(len(arguments)) as pool:
        return list(pool.map(function, arguments))


def timed(call):
    """What it gives, and in how many seconds."""
    began = time.monotonic()
    result = call()
    return result, time.monotonic() - began


def read_while_away(d, server, h, image):
    """A read that the host makes while the server is away is right as soon as the server is back."""
    server.stop()
    results = []
    reader = threading.Thread(target=lambda: results.append(h.pread(100_000, 3_000_000)))
    reader.start()
    wait_for(lambda: "trying again" in d.log(), "the daemon to notice")
    assert not results
    server.start()
    reader.join(30)
    assert results == [image[3_000_000:3_100_000]]


class Daemon:
    """One nbd-proxy with its own folder. `arguments` follow --no-config. `environment` is added to ours."""

    def __init__(self, folder, *arguments, config=None, environment=()):
        self.folder = folder
        self.killed = False
        self.log_path = folder / "log"
        command = [binary()]
        if config is None:
            command += ["--no-config"]
        else:
            self.config = folder / "conf"
            self.config.write_text(config)
            self.config.chmod(0o600)
            command += ["--config", str(self.config)]
        command += ["--set", f"daemon.runtime-dir={folder}", "--set", "http.allow-local=yes",  # all servers are here
                    "--set", "daemon.profile-directory="]
        for argument in arguments:
            command += ["--set", argument]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL,
                                            env={**os.environ, **dict(environment)})
        wait_for(self.is_up, "the daemon")

    def is_up(self):
        assert self.process.poll() is None, self.log()
        return (self.folder / "control.sock").exists() and "ready:" in self.log()

    def log(self):
        return self.log_path.read_text(errors="replace")

    def connect(self, name="control.sock"):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(60)
        s.connect(str(self.folder / name))
        return s

    def ask(self, *commands):
        """All answer lines of the commands, on one connection."""
        with self.connect() as s:
            s.sendall("".join(c + "\n" for c in commands).encode())
            s.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: s.recv(65536), b"")).decode().splitlines()

    def ok(self, command):
        lines = self.ask(command)
        assert lines and lines[-1].startswith("ok"), lines
        return lines

    def error(self, command):
        lines = self.ask(command)
        assert lines and lines[-1].startswith("error: "), lines
        return lines[-1]

    def status(self):
        return json.loads(self.ok("status --json")[0])

    def slot(self, index=0):
        return self.status()["slots"][index]

    def uri(self, slot="slot0"):
        return f"nbd+unix:///?socket={self.folder}/{slot}.sock"

    def rss(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024

    def reset_rss(self):
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def state(self):
        """The state file's text."""
        path = self.folder / "state.json"
        return path.read_text() if path.exists() else ""

    def kill(self):
        """As a crash would, once it has written down what is inserted: its sockets stay."""
        ready = [s["name"] for s in self.status()["slots"] if s["state"] == "ready"]
        wait_for(lambda: all(f'"{name}"' in self.state() for name in ready), "the state file")
        self.process.kill()
        self.process.wait()
        self.killed = True

    def stop(self, number=signal.SIGTERM):
        """`number` None: it is stopping by itself. A second call checks again."""
        if self.killed:
            return
        if number is not None and self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(60)
        log = self.log()
        assert "Sanitizer" not in log and "runtime error" not in log, log
        assert code == 0, (code, log)
        assert not list(self.folder.glob("*.sock"))


@pytest.fixture
def folder():
    path = pathlib.Path(tempfile.mkdtemp(prefix="np-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def daemon(folder):
    """A function that starts daemons; each must stop cleanly at the end."""
    started = []

    def start(*arguments, **more):
        place = folder / str(len(started))
        place.mkdir()
        started.append(Daemon(place, *arguments, **more))
        return started[-1]

    yield start
    try:
        for d in started:
            d.stop()
    finally:
        for d in started:
            if d.process.poll() is None:
                d.process.kill()
                d.process.wait()


# --- images ---


def make_image(path, size, seed=1):
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


@pytest.fixture(scope="session")
def www(tmp_path_factory):
    path = tmp_path_factory.mktemp("www")
    path.chmod(0o755)
    for parent in path.parents:
        if parent != parent.parent and parent.stat().st_uid == os.getuid() and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    make_image(path / "image.iso", 6_000_000 + 123)
    make_image(path / "other.iso", 3_000_000, seed=2)
    with open(path / "sparse.iso", "wb") as f:
        f.truncate(5 << 30)
        f.seek((5 << 30) - 7)
        f.write(b"the end")
    with open(path / "tera.iso", "wb") as f:
        f.truncate(1 << 40)
    return path


def sha(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


# --- certificates and nginx ---


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    place = tmp_path_factory.mktemp("tls")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 30, "-subj", "/CN=test CA", "-keyout",
            place / "ca.key", "-out", place / "ca.pem")

    (place / "ca.conf").write_text(
        f"[ca]\ndefault_ca=c\n[c]\ndatabase={place}/index\nnew_certs_dir={place}\npolicy=p\ndefault_md=sha256\n"
        "rand_serial=yes\nunique_subject=no\n[p]\ncommonName=supplied\n")
    (place / "index").touch()

    def sign(name, alt, end):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", place / f"{name}.key",
                "-out", place / f"{name}.csr")
        (place / "ext").write_text(f"subjectAltName={alt}\n")
        openssl("ca", "-batch", "-notext", "-config", place / "ca.conf", "-cert", place / "ca.pem", "-keyfile",
                place / "ca.key", "-startdate", "20200101000000Z", "-enddate", end, "-extfile", place / "ext",
                "-in", place / f"{name}.csr", "-out", place / f"{name}.pem")

    later = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + 30 * 86400))
    sign("good", "DNS:localhost,IP:127.0.0.1,IP:10.0.2.2", later)  # 10.0.2.2: this machine, for a guest of QEMU
    sign("wrong", "DNS:elsewhere.example", later)
    sign("expired", "DNS:localhost,IP:127.0.0.1", "20210101000000Z")
    sign("client", "DNS:client", later)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 30, "-subj", "/CN=self", "-addext",
            "subjectAltName=DNS:localhost", "-keyout", place / "self.key", "-out", place / "self.pem")
    return place


def free_ports(count):
    """That many, no two alike: each is held until all are chosen."""
    with contextlib.ExitStack() as held:
        chosen = [held.enter_context(socket.socket()) for _ in range(count)]
        for s in chosen:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in chosen]


def free_port():
    return free_ports(1)[0]


class Nginx:
    NAMES = ("http", "https", "h2", "wrong", "expired", "self", "mutual")

    def __init__(self, place, www, tls):
        self.place, self.www, self.tls = place, www, tls
        self.port = dict(zip(self.NAMES, free_ports(len(self.NAMES))))
        subprocess.run(["openssl", "passwd", "-apr1", "-in", "/dev/stdin"], input=b"CANARY-PASSWORD\n", check=True,
                       stdout=open(place / "hash", "wb"))
        (place / "users").write_text("alice:" + (place / "hash").read_text())
        (place / "users").chmod(0o644)
        (place / "conf").write_text(self.config())
        self.start()

    def config(self):
        locations = f"""
            root {self.www};
            location /auth/ {{ alias {self.www}/; auth_basic x; auth_basic_user_file {self.place}/users; }}
            location /moved/ {{ rewrite ^/moved/(.*)$ /$1 redirect; }}
            location /loop {{ return 302 /loop; }}
            location /tofile {{ return 302 file:///etc/passwd; }}
            location /toftp {{ return 302 ftp://127.0.0.1/x; }}
            location /downgrade/ {{ rewrite ^/downgrade/(.*)$ http://127.0.0.1:{self.port['http']}/$1 redirect; }}
            location /busy {{ return 503; }}
            location /noranges/ {{ alias {self.www}/; max_ranges 0; }}
        """
        servers = f"server {{ listen 127.0.0.1:{self.port['http']}; {locations} }}"
        for name, pair, extra, flags in (("https", "good", "", ""), ("h2", "good", "", "http2"), ("wrong", "wrong", "", ""),
                                         ("expired", "expired", "", ""), ("self", "self", "", ""),
                                         ("mutual", "good", f"ssl_client_certificate {self.tls}/ca.pem; ssl_verify_client on;", "")):
            servers += f"""server {{ listen 127.0.0.1:{self.port[name]} ssl {flags};
                ssl_certificate {self.tls}/{pair}.pem; ssl_certificate_key {self.tls}/{pair}.key; {extra} {locations} }}"""
        temp = "\n".join(f"{kind}_temp_path {self.place}/{kind};"
                         for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.getuid() == 0 else ""
        return f"""{user} daemon off; worker_processes 1; pid {self.place}/pid; error_log {self.place}/error.log;
            events {{ worker_connections 512; }}
            http {{ log_format ranges '$server_port $request_method $uri $status "$http_range" "$http_authorization" '
                '$server_protocol $connection';
                access_log {self.place}/access.log ranges; {temp} keepalive_requests 100000; {servers} }}"""

    def start(self):
        self.process = subprocess.Popen(["nginx", "-p", str(self.place), "-c", str(self.place / "conf"), "-e",
                                         str(self.place / "error.log")], stderr=subprocess.DEVNULL)
        wait_for(self.answers, "nginx")

    def answers(self):
        assert self.process.poll() is None, (self.place / "error.log").read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port["mutual"]), 1).close()
            return True
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(20)

    def url(self, path, server="https", host="127.0.0.1"):
        scheme = "http" if server == "http" else "https"
        return f"{scheme}://{host}:{self.port[server]}/{path}"

    def access(self):
        return (self.place / "access.log").read_text().splitlines()


@pytest.fixture(scope="session")
def nginx(tmp_path_factory, www, certificates):
    place = tmp_path_factory.mktemp("nginx")
    server = Nginx(place, www, certificates)
    yield server
    server.stop()


@pytest.fixture
def own_nginx(tmp_path_factory, www, certificates):
    """One that a test may stop and start."""
    server = Nginx(tmp_path_factory.mktemp("nginx"), www, certificates)
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.fixture
def ca(certificates):
    return f"http.ca-file={certificates}/ca.pem"
