"""A stand-in of a stock bmcweb: for a browser's file it starts the program that it finds as /usr/bin/nbd-proxy, with the
browser's NBD on two blocking pipes and stderr closed. It ends it with SIGTERM and waits for it, as its one thread does."""
import fcntl
import os
import signal
import struct
import subprocess
import threading
import time

from browser import (DISC, EXPORT_NAME, GREETING, OPTION_MAGIC, OPTION_REPLY, READ, REPLY_MAGIC, REQUEST_MAGIC,
                     UNSUPPORTED)
from conftest import binary, wait_for

ANSWERS_MAX = 262176  # unread bytes from which on bmcweb moves the buffer of a write that is under way
MESSAGE_MAX = 131088  # a longer one is cut
BUFFER_MAX = 524352  # a message that does not fit ends the WebSocket
PIPE = 65536


class Gone(Exception):
    """The program, or the daemon behind it, has closed the pipe."""


class Stock:
    """One session. `image` is served as webui-vue does; `on_read(stock, cookie, offset, length)` may answer in its place by
    returning True. `most` is the largest sum of what was asked for and not answered. What may not be is in `faults`."""

    def __init__(self, daemon, image, media="0", on_read=None, begin=True, options=None, wire="pipes", errors=False):
        self.image, self.on_read = image, on_read
        self.waiting, self.most, self.longest, self.reads = {}, 0, 0, 0
        self.faults, self.disc, self.serving = [], threading.Event(), threading.Event()
        self.lock, self.input = threading.Lock(), b""
        options = ["--no-config", "--set", f"daemon.runtime-dir={daemon.folder}"] if options is None else options
        if wire == "pipes":
            (theirs_in, self.to), (self.back, theirs_out) = os.pipe(), os.pipe()
        else:
            import socket
            self.pair = socket.socketpair()
            theirs_in = theirs_out = os.dup(self.pair[1].fileno())
            self.pair[1].close()
            self.to, self.back = os.dup(self.pair[0].fileno()), os.dup(self.pair[0].fileno())
            self.pair[0].close()
        for fd in (self.to, self.back):
            fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        # LISTEN_PID is the program's own: what was handed to bmcweb is not for it.
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@"', binary(), *options, media], stdin=theirs_in,
            stdout=theirs_out, stderr=subprocess.PIPE if errors else subprocess.DEVNULL, text=True)
        for fd in {theirs_in, theirs_out}:
            os.close(fd)
        if begin:
            self.begin()

    def begin(self):
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def run(self):
        try:
            self.serve()
        except (Gone, OSError):
            pass
        except BaseException as error:
            self.faults.append(repr(error))
            raise

    # --- bytes ---

    def send(self, data):
        """One message of the browser's, written as bmcweb does: until it is in the pipe."""
        assert len(data) <= MESSAGE_MAX
        while data:
            data = data[os.write(self.to, data) :]

    def take(self, size):
        while len(self.input) < size:
            data = os.read(self.back, PIPE)
            if not data:
                raise Gone
            self.input += data
        data, self.input = self.input[:size], self.input[size:]
        return data

    # --- the browser's NBD ---

    def serve(self):
        self.send(GREETING)
        if self.take(4) != struct.pack(">I", 3):
            self.faults.append("client flags")
        while True:
            magic, option, length = struct.unpack(">8sII", self.take(16))
            self.take(length)
            assert magic == OPTION_MAGIC
            if option == EXPORT_NAME:
                break
            self.send(struct.pack(">QIII", OPTION_REPLY, option, UNSUPPORTED, 0))
        self.send(struct.pack(">QH", self.image.size, 1 | 2))
        self.serving.set()
        while self.request():
            pass

    def request(self):
        magic, flags, kind, cookie, offset, length = struct.unpack(">IHHQQI", self.take(28))
        if magic != REQUEST_MAGIC or flags:
            self.faults.append(f"magic {magic:x}, flags {flags}")
        if kind == DISC:
            self.disc.set()
            return False  # the browser closes; bmcweb hears of it and ends the program
        if kind != READ or offset + length > self.image.size:
            self.faults.append(f"request {kind} of {offset}+{length}")
        with self.lock:
            self.waiting[cookie] = (offset, length)
            self.reads += 1
            self.longest = max(self.longest, length)
            self.most = max(self.most, sum(16 + n for _, n in self.waiting.values()))
        if not (self.on_read and self.on_read(self, cookie, offset, length)):
            self.answer(cookie)
        return True

    def answer(self, cookie, data=None, error=0):
        offset, length = self.waiting[cookie]
        data = b"" if error else self.image.read(offset, length) if data is None else data
        with self.lock:
            del self.waiting[cookie]
        self.send(struct.pack(">IIQ", REPLY_MAGIC, error, cookie) + data)

    def answer_all(self):
        for cookie in list(self.waiting):
            self.answer(cookie)

    def wait_serving(self):
        wait_for(lambda: self.serving.is_set() or self.process.poll() is not None, "the handshake")
        assert self.serving.is_set(), self.process.returncode
        return self

    # --- bmcweb's ends ---

    def stop(self):
        """As the browser's stop, or its end: bmcweb waits for the program. Returns for how many seconds."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == -signal.SIGTERM
        return time.monotonic() - began

    def kill(self):
        """As a bmcweb that is stopped does."""
        self.process.kill()
        self.process.wait()

    def die(self):
        """As when bmcweb is killed: the program gets the end of its input. Returns its exit code."""
        self.close()
        return self.process.wait(30)

    def close(self):
        for name in ("to", "back"):
            fd, now = getattr(self, name), -1
            setattr(self, name, now)
            if fd >= 0:
                os.close(fd)

    def rest(self, seconds=10):
        """What is written after the thread that reads has ended: up to the end of the pipe."""
        os.set_blocking(self.back, False)
        data, until = b"", time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                part = os.read(self.back, PIPE)
            except BlockingIOError:
                time.sleep(0.005)
                continue
            if not part:
                return data
            data += part
        raise AssertionError("the pipe is still open")

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()
        self.close()
