"""Under a bmcweb that knows of no virtual media daemon: it starts "nbd-proxy 0" for a browser's file, see stock.py."""
import array
import hashlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time

import nbd
import pytest

from browser import Image
from conftest import binary, wait_for
from stock import ANSWERS_MAX, PIPE, Stock
from test_nbd import handle
from test_web_browser import Reader, read_whole

READ_MAX = 131072
SOON = 0.05  # within which the program is to be gone: the BMC's web server stands still meanwhile


@pytest.fixture
def served(daemon):
    """A function that gives a stand-in on a daemon; the first call starts that, with the keys of slot0."""
    made = []

    def serve(image, keys=(), d=None, **how):
        d = d or daemon("slot.slot0.attach=socket", "slot.slot1.attach=socket", *(f"slot.slot0.{key}" for key in keys))
        made.append(Stock(d, image, **how))
        return d, made[-1]

    yield serve
    for stock in made:
        stock.end()
        assert not stock.faults
        assert stock.most <= ANSWERS_MAX and stock.longest <= READ_MAX


def some(size, seed=7):
    return Image(random.Random(seed).randbytes(size))


def is_ready(d, stock, index=0):
    stock.wait_serving()
    wait_for(lambda: d.slot(index)["state"] == "ready", "the slot")


def is_empty(d, index=0):
    wait_for(lambda: d.slot(index)["state"] == "empty", "the slot to be empty")


class Late:
    """Answers nothing while it is on, but what a file system or a boot loader reads first."""

    def __init__(self, beyond=1 << 20):
        self.on, self.beyond = True, beyond

    def __call__(self, stock, cookie, offset, length):
        return self.on and offset >= self.beyond


@pytest.mark.smoke
def test_the_whole_file_and_then_an_eject(served):
    image = some(12_000_001)
    d, stock = served(image)
    is_ready(d, stock)
    assert read_whole(d.uri(), 1 << 20) == hashlib.sha256(image.data).hexdigest()
    assert stock.longest == READ_MAX
    d.ok("eject 0")
    assert stock.disc.wait(10)
    assert stock.process.poll() is None  # bmcweb ends it
    assert stock.stop() < 5
    assert stock.rest() == b""
    assert d.slot()["state"] == "empty" and d.slot()["error"] is None
    assert "error" not in d.log()
    # Under valgrind the program has another name.
    assert re.search(rf'peer="control uid={os.getuid()} pid={stock.process.pid} name=\S+" subject="slot0"', d.log())


def test_late_answers_count_as_unread(served):
    image, late = some(32 << 20), Late(beyond=0)
    d, stock = served(image, on_read=late, keys=["io-timeout=60s"], begin=False)
    late.on = False
    stock.begin()
    is_ready(d, stock)
    late.on = True
    readers = [Reader(d.uri(), size, at << 20) for at, size in enumerate([1 << 20, 4096, 300_000, 131072, 512, 65536, 7, 2 << 20])]
    wait_for(lambda: stock.most > READ_MAX, "the first reads")
    while any(reader.is_alive() for reader in readers):
        time.sleep(0.005)  # whatever may be asked for meanwhile is
        if stock.waiting:
            stock.answer(random.choice(list(stock.waiting)))
    for at, reader in enumerate(readers):
        assert reader.result() == image.read(at << 20, reader.length)
    assert READ_MAX + 16 < stock.most <= ANSWERS_MAX and stock.longest == READ_MAX


def test_answers_that_nobody_waits_for_any_more_count_too(served):
    image, late = some(16 << 20), Late()
    d, stock = served(image, on_read=late, keys=["io-timeout=500ms"])
    is_ready(d, stock)
    for at in range(3):  # each is given up after half a second, and its answer may still come
        assert Reader(d.uri(), READ_MAX, (4 << 20) + (at << 21)).result() == "EIO"
    wait_for(lambda: stock.most > READ_MAX, "the reads")
    assert stock.most <= ANSWERS_MAX
    late.on = False
    stock.answer_all()
    assert Reader(d.uri(), 4096, 12 << 20).result() == image.read(12 << 20, 4096)


def test_bytes_that_are_mixed_up_end_the_medium(served):
    image = some(64 << 20)

    def wrong(stock, cookie, offset, length):
        """Another offset's bytes, the framing intact: as bmcweb's buffer gives them."""
        stock.answer(cookie, image.read(random.randrange(image.size - length), length))
        return True

    d, stock = served(image)
    is_ready(d, stock)
    stock.on_read = wrong
    h = handle(d.uri())
    with pytest.raises(nbd.Error):
        for at in [*range(1 << 20, 64 << 20, 256 << 10)] * 4:  # which reads are asked for twice is chance
            h.pread(256 << 10, at)
    assert stock.disc.wait(10)
    is_empty(d)
    assert "its bytes differed" in d.slot()["error"] and "its bytes differed" in d.log()
    assert stock.stop() < 5


@pytest.mark.parametrize("stopped", (False, True), ids=["the daemon serves", "the daemon is stopped"])
def test_sigterm_ends_it_at_once_while_the_hosts_reads_hang(served, stopped):
    image, late = some(16 << 20), Late()
    took = []
    d = None
    for _ in range(5):
        d, stock = served(image, d=d, on_read=late, keys=["io-timeout=60s", "reconnect-grace=60s"])
        is_ready(d, stock)
        readers = [Reader(d.uri(), 1 << 20, at << 20) for at in range(4, 12)]
        wait_for(lambda: stock.most > ANSWERS_MAX - READ_MAX, "the reads")
        if stopped:
            d.process.send_signal(signal.SIGSTOP)
        asked = stock.reads
        took.append(stock.stop())
        if stopped:
            d.process.send_signal(signal.SIGCONT)
        else:
            stock.thread.join(10)
            assert stock.reads == asked and not stock.input and stock.rest() == b""
        wait_for(lambda: "waiting 60 s" in d.log(), "the daemon to notice")
        late.on = False
        _, again = served(image, d=d)
        assert [reader.result() for reader in readers] == [image.read(at << 20, 1 << 20) for at in range(4, 12)]
        d.ok("eject 0")
        assert again.disc.wait(10)
        again.stop()
        late.on = True
    print("from SIGTERM to the exit:", ", ".join(f"{seconds * 1000:.1f} ms" for seconds in took))
    assert sorted(took)[len(took) // 2] < SOON


def test_a_browser_that_reloads_goes_on(served):
    image, late = some(8 << 20), Late()
    d, first = served(image, on_read=late)
    is_ready(d, first)
    reader = Reader(d.uri(), 1 << 20, 4 << 20)
    wait_for(lambda: first.most > READ_MAX, "the read")
    first.stop()
    _, second = served(image, d=d)
    assert reader.result() == image.read(4 << 20, 1 << 20)
    assert d.slot()["state"] == "ready" and second.process.poll() is None
    assert "it is back, with the same image" in d.log()
    second.stop()
    wait_for(lambda: d.log().count("waiting 25 s") == 2, "the daemon to notice")


def test_a_browser_that_comes_with_another_file_ends_the_one_before(served):
    d, first = served(some(8 << 20))
    is_ready(d, first)
    first.stop()
    other = some(3 << 20, seed=8)
    _, second = served(other, d=d)
    second.wait_serving()
    assert second.disc.wait(10)
    is_empty(d)
    assert d.slot()["error"] is None and "has come with another file" in d.log()
    second.stop()
    _, third = served(other, d=d)
    is_ready(d, third)
    assert read_whole(d.uri()) == hashlib.sha256(other.data).hexdigest()


def test_nobody_comes_back(served):
    d, stock = served(some(2 << 20), keys=["reconnect-grace=300ms"])
    is_ready(d, stock)
    stock.stop()
    is_empty(d)  # an ordinary end, as a stop is one
    assert d.slot()["error"] is None and "did not come back within 300 ms" in d.log()
    assert " error " not in d.log() and "ejected browser:" in d.log()


@pytest.mark.parametrize("end", ("kill", "die"))
def test_bmcweb_ends_in_the_middle_of_an_answer(served, end):
    image = some(8 << 20)
    cut = threading.Event()

    def half(stock, cookie, offset, length):
        if offset < 2 << 20:
            return False
        stock.send(b"\x67\x44\x66\x98\0\0\0\0" + cookie.to_bytes(8, "big") + image.read(offset, length // 2))
        cut.set()
        return True

    d, stock = served(image, on_read=half, keys=["io-timeout=60s"])
    is_ready(d, stock)
    reader = Reader(d.uri(), READ_MAX, 4 << 20)
    assert cut.wait(10)
    if end == "kill":
        stock.kill()
    else:
        assert stock.die() == 0
    wait_for(lambda: "waiting 25 s" in d.log(), "the daemon to notice")
    _, again = served(image, d=d)
    assert reader.result() == image.read(4 << 20, READ_MAX)


def test_two_at_once(served):
    image = some(4 << 20)
    d, first = served(image)
    is_ready(d, first)
    _, second = served(some(1 << 20), d=d, errors=True)
    assert second.process.wait(10) == 1
    assert re.fullmatch("nbd-proxy: error: slot0: the slot already has a medium.* \\(eject it first\\)\n", second.process.stderr.read())
    assert "is not served: the slot already has a medium" in d.log()
    _, other = served(some(1 << 20), d=d, media="slot1")
    is_ready(d, other, 1)
    assert read_whole(d.uri()) == hashlib.sha256(image.data).hexdigest()
    assert first.process.poll() is None


def test_the_daemon_is_killed_and_started_anew(served, daemon):
    image, late = some(8 << 20), Late()
    d, stock = served(image, on_read=late)
    is_ready(d, stock)
    reader = Reader(d.uri(), READ_MAX, 4 << 20)
    wait_for(lambda: stock.waiting, "the read")
    d.process.kill()
    d.process.wait()
    d.killed = True
    assert stock.disc.wait(10)
    assert not isinstance(reader.result(), bytes)
    stock.answer_all()  # into a pipe that somebody reads
    assert stock.process.poll() is None
    assert stock.stop() < 5
    d2, again = served(image)
    is_ready(d2, again)
    assert read_whole(d2.uri()) == hashlib.sha256(image.data).hexdigest()


def test_the_daemon_stops(served):
    d, stock = served(some(2 << 20))
    is_ready(d, stock)
    d.stop()
    assert stock.disc.wait(10)
    assert stock.stop() < 5


def test_a_full_pipe_in_either_direction(served):
    image = some(4 << 20)
    d, stock = served(image)
    is_ready(d, stock)
    d.process.send_signal(signal.SIGSTOP)
    os.set_blocking(stock.to, False)
    written = 0
    with pytest.raises(BlockingIOError):
        while True:
            written += os.write(stock.to, bytes(PIPE))
    assert written > ANSWERS_MAX  # all that bmcweb may have for it fits
    assert stock.stop() < 5
    d.process.send_signal(signal.SIGCONT)
    wait_for(lambda: "waiting 25 s" in d.log(), "the daemon to notice")
    d.ok("eject 0")
    _, stock = served(image, d=d, begin=False)
    wait_for(lambda: "a browser's file" in d.log().splitlines()[-1], "the program")
    with open(f"/proc/{stock.process.pid}/fd/1", "wb", buffering=0) as theirs:
        os.set_blocking(theirs.fileno(), False)
        while theirs.write(bytes(4096)):
            pass
    stock.send(b"NBDMAGICIHAVEOPT\0\3")  # the daemon can't answer
    time.sleep(0.1)
    d.ok("status")
    assert stock.stop() < 5
    is_empty(d)


def test_what_is_no_server_is_told_so(served):
    d, stock = served(some(1 << 20), begin=False, errors=True)
    stock.send(b"GET / HTTP/1.1\r\n\r\n")
    assert stock.process.wait(10) == 1
    assert stock.process.stderr.read().startswith("nbd-proxy: error: slot0: the peer does not speak NBD")
    is_empty(d)


def test_a_socket_will_do(served):
    image = some(2 << 20)
    d, stock = served(image, wire="socket")
    is_ready(d, stock)
    assert read_whole(d.uri()) == hashlib.sha256(image.data).hexdigest()


def test_by_name_and_with_an_odd_size(served):
    image = some(1_000_001)
    d, stock = served(image, media="slot1")
    is_ready(d, stock, 1)
    h = handle(d.uri("slot1"))
    assert h.pread(h.get_size(), 0) == image.data + bytes(h.get_size() - image.size)


# --- without a bmcweb ---


def program(*arguments, **how):
    began = time.monotonic()
    done = subprocess.run([binary(), "--no-config", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, **how)
    return done.returncode, done.stdout, done.stderr, time.monotonic() - began


def test_no_daemon_is_said_at_once(folder):
    code, out, error, seconds = program("--set", f"daemon.runtime-dir={folder}", "0")
    assert (code, out) == (69, "") and seconds < 5
    assert error.startswith(f"nbd-proxy: the daemon can't be reached at {folder}/control.sock: No such file or directory (")
    with socket.socket(socket.AF_UNIX) as s:  # one that died
        s.bind(f"{folder}/control.sock")
    assert program("--set", f"daemon.runtime-dir={folder}", "0")[0] == 69


NAMESPACE = ["unshare", "--mount", "sh", "-c",
             'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && ln -s "$0" /dev/log && exec "$@"']


@pytest.mark.skipif(os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0,
                    reason="needs a mount namespace")
def test_errors_are_in_the_systems_log_since_stderr_leads_nowhere(folder):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(f"{folder}/log")
        log.settimeout(30)
        for arguments, code, words in ((["--no-config", "--set", f"daemon.runtime-dir={folder}"], 69, "can't be reached at"),
                                       (["-c", f"{folder}/none"], 78, "none")):
            done = subprocess.run([*NAMESPACE, f"{folder}/log", binary(), *arguments, "0"], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30)
            line = log.recv(4096).decode()
            assert done.returncode == code and "nbd-proxy[" in line and words in line, (done, line)


def test_what_it_can_not_serve(daemon):
    d = daemon()
    at = ("--set", f"daemon.runtime-dir={d.folder}")
    code, _, error, _ = program(*at, "7")
    assert code == 1 and 'there is no slot "7"' in error
    code, _, error, _ = program(*at, "no such")
    assert code == 1 and "there is no slot" in error
    code, _, error, _ = program(*at, "0")  # /dev/null
    assert code == 1 and "must be a pipe to read and one to write, or a socket" in error
    closed = ["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', binary(), "--no-config", *at, "0"]
    assert subprocess.run(closed, timeout=30).returncode == 1 and d.log().count("must be a pipe to read") == 2
    assert program("0", "1")[0] == program("--dump-config", "0")[0] == 2


def test_metadata_is_an_object_with_an_object_for_each_slot():
    code, out, error, _ = program("--metadata")
    assert (code, error) == (0, "") and out.count("\n") == 1
    assert json.loads(out) == {"0": {"description": "Virtual media device", "slot": "slot0", "media": "cd"},
                               "1": {"description": "Virtual media device", "slot": "slot1", "media": "disk"}}


# --- the command ---


def command(d, line="serve 0\n"):
    s = d.connect()
    s.sendall(line.encode())
    return s, s.recv(4096).decode()


def give(s, *fds):
    s.sendmsg([b"\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
    return s.recv(4096).decode()


def open_files(d):
    return len(os.listdir(f"/proc/{d.process.pid}/fd"))


def test_descriptors_that_are_not_the_ones(daemon, folder):
    d = daemon()
    d.ok("status")
    at_first = open_files(d)
    (a, b), file = os.pipe(), os.open(folder / "f", os.O_CREAT | os.O_RDWR)
    for fds, problem in (((), "two descriptors are expected"), ((a,), "two descriptors"), ((a, b, a), "two descriptors"),
                         ((b, a), "must be a pipe to read"), ((file, b), "must be a pipe"), ((a, a), "must be a pipe")):
        s, answer = command(d)
        assert answer == "descriptors\n"
        assert problem in give(s, *fds), fds
        s.sendall(b"slots\n")
        assert s.recv(4096).startswith(b"0 slot0")  # the connection goes on
        s.close()
    for fd in (a, b, file):
        os.close(fd)
    wait_for(lambda: open_files(d) == at_first, "the daemon to close what it was given")
    assert d.slot()["state"] == "empty"


def test_a_client_that_goes_or_types_ahead(daemon):
    d = daemon()
    at_first = open_files(d)
    s, answer = command(d)
    s.close()
    wait_for(lambda: "no descriptors came" in d.log(), "the daemon to notice")
    s, answer = command(d, "serve 0\nslots\n")
    while "error: slot0: no descriptors came\n" not in answer:
        answer += s.recv(4096).decode()
    s.close()
    a, b = socket.socketpair()
    s, answer = command(d)
    s.sendmsg([b"\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [a.fileno(), a.fileno()]))])
    wait_for(lambda: "a browser's file" in d.log(), "the medium")
    s.sendall(b"\n")  # that is enough
    assert s.recv(4096).startswith(b"error: slot0: ")
    s.close()
    a.close()
    b.close()
    wait_for(lambda: open_files(d) == at_first, "the daemon to close all")
    is_empty(d)


def test_the_daemon_stops_while_it_waits_for_descriptors(daemon):
    d = daemon()
    s, answer = command(d)
    d.stop()
    s.close()
