"""Servers that do not answer, names that are not found, descriptors and disks that are at an end: the others go on."""
import http.client
import os
import resource
import signal
import socket
import ssl
import statistics
import subprocess
import threading
import time

import nbd
import pytest

from conftest import SANITIZED, binary, timed, wait_for
from doors import IMAGE, elsewhere, insert, server  # noqa: F401 (fixtures)
from redfish_client import EJECT, INSERT, SLOT, Client, own, port_of, users  # noqa: F401 (fixtures)
from test_nbd import handle

SOON = 0.5 if SANITIZED else 0.1
AT_MOST = 8 if SANITIZED else 3  # of any single answer, on a machine that does other things too


class Kept:
    """A client that keeps its connection."""

    def __init__(self, daemon, user):
        self.headers = {**Client(daemon, user).always, "Content-Type": "application/json"}
        self.connection = http.client.HTTPSConnection("127.0.0.1", port_of(daemon), timeout=60,
                                                      context=ssl._create_unverified_context())

    def ask(self, method, path, body=None):
        self.connection.request(method, path, body, self.headers)
        answer = self.connection.getresponse()
        answer.read()
        return answer.status


def seconds(do):
    return timed(do)[1]


@pytest.fixture
def silent():
    """A server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as s:
        yield s.getsockname()[1]


# --- servers ---


def others_go_on(d, kept, h, done):
    times, offset = [], 0
    while not done(len(times) // 3):
        offset = (offset + 4096) % (len(IMAGE) - 4096)
        times += [seconds(lambda: kept.ask("GET", SLOT)), seconds(lambda: d.ok("status")), seconds(lambda: h.pread(4096, offset))]
    assert statistics.median(times) < SOON and max(times) < AT_MOST, sorted(times)[-5:]


@pytest.mark.plain
@pytest.mark.parametrize("what", ["no answer", "no handshake", pytest.param("no name", marks=pytest.mark.plain(only=True))])
def test_one_that_does_not_answer_holds_nobody_else(own, silent, server, request, what):
    url = {"no answer": f"http://127.0.0.1:{silent}/x", "no handshake": f"https://127.0.0.1:{silent}/x",
           "no name": "http://slow.test/x"}[what]
    d = own(environment=request.getfixturevalue("elsewhere") if what == "no name" else {})
    kept, outcome = Kept(d, "operator"), []
    d.ok(f"insert 1 {server.url()}")
    h = handle(d.uri("slot1"))
    thread = threading.Thread(target=lambda: outcome.append(insert(d, "InsertMedia", url)))
    thread.start()
    wait_for(lambda: d.slot()["state"] == "opening", "the insert to begin")
    others_go_on(d, kept, h, lambda count: count == 15)
    assert thread.is_alive()
    assert seconds(lambda: kept.ask("POST", EJECT)) < AT_MOST
    others_go_on(d, kept, h, lambda count: count == 5)
    thread.join(AT_MOST)
    assert outcome[0].message == "InsertGivenUp"
    assert seconds(d.stop) < 2 * AT_MOST


@pytest.mark.plain
def test_a_name_that_is_not_found_in_time_is_given_up(own, server, elsewhere):
    """libcurl would wait for its thread, and the loop with it."""
    d = own("http.connect-timeout=1s", "http.io-timeout=1s", environment=elsewhere)
    kept, outcome = Kept(d, "operator"), []
    d.ok(f"insert 1 {server.url()}")
    h = handle(d.uri("slot1"))
    thread = threading.Thread(target=lambda: outcome.append(insert(d, "InsertMedia", "http://slow.test/x")))
    began = time.monotonic()
    thread.start()
    others_go_on(d, kept, h, lambda count: not thread.is_alive())
    assert time.monotonic() - began < 1 + AT_MOST and not outcome[0].good


# --- descriptors ---


def cpu(pid):
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def connect_all(d, count):
    """As many as are taken: to the web server, the control socket and an NBD socket."""
    wires = []
    for i in range(count):
        for name in ("web", "control.sock", "slot1.sock"):
            s = socket.socket(socket.AF_INET if name == "web" else socket.AF_UNIX)
            s.settimeout(0.5)
            try:
                s.connect(("127.0.0.1", port_of(d)) if name == "web" else str(d.folder / name))
            except OSError:
                s.close()
                continue
            wires.append(s)
    return wires


def test_without_descriptors_it_is_refused_and_passes(own, server):
    d = own()
    pid = d.process.pid
    kept = Kept(d, "operator")
    d.ok(f"insert 1 {server.url()}")
    h = handle(d.uri("slot1"))
    assert kept.ask("GET", SLOT) == 200
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    least = max(32, len(os.listdir(f"/proc/{pid}/fd")) + 4)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (least, hard))
    wires = connect_all(d, 20)
    before = cpu(pid)
    time.sleep(1)  # what it takes meanwhile
    assert cpu(pid) - before < 0.5  # it does not spin
    assert kept.ask("GET", SLOT) == 200
    assert kept.ask("POST", INSERT, '{"Image": "%s"}' % server.url()) in (204, 400, 503)
    assert h.pread(4096, 0) == IMAGE[:4096]
    for s in wires:
        s.close()
    wait_for(lambda: len(os.listdir(f"/proc/{pid}/fd")) < least - 2, "the descriptors to be closed")
    assert kept.ask("POST", EJECT) == 204
    wait_for(lambda: insert(d, "InsertMedia", server.url()).good, "an insert")
    assert Client(d, "reader").get(SLOT).status == 200 and d.ok("status")
    assert handle(d.uri()).pread(4096, 8192) == IMAGE[8192:12288]


def listens(path):
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(str(path)) == 0


def test_a_log_that_can_not_be_written_stops_nothing(folder, server):
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen([binary(), "--no-config", "--set", f"daemon.runtime-dir={folder}", "--set",
                                    "http.allow-local=yes", "--set", "daemon.log-level=debug"], stderr=full)
    try:
        wait_for(lambda: listens(folder / "control.sock"), "the daemon")
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(folder / "control.sock"))
            s.settimeout(60)
            s.sendall(f"insert 0 {server.url()}\n".encode())
            s.shutdown(socket.SHUT_WR)
            assert s.makefile("rb").readlines()[-1].startswith(b"ok")
        h = nbd.NBD()
        h.connect_uri(f"nbd+unix:///?socket={folder}/slot0.sock")
        assert h.pread(4096, 0) == IMAGE[:4096]
        h.shutdown()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
