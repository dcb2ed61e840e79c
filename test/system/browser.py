"""A browser that serves a file: WebSocket client and NBD server in a thread, as the page is, as other
people's pages are (openbmc's jsnbd and webui-vue), or worse: every step of it can be made wrong."""
import base64
import hashlib
import os
import random
import struct
import threading

from conftest import wait_for
from website import PASSWORDS, AnswerReader

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MAGIC, OPTION_MAGIC, OPTION_REPLY = b"NBDMAGIC", b"IHAVEOPT", 0x3E889045565A9
REQUEST_MAGIC, REPLY_MAGIC = 0x25609513, 0x67446698
READ, WRITE, DISC, FLUSH, TRIM = range(5)
EPERM, EIO, EINVAL, ENOSPC = 1, 5, 22, 28
EXPORT_NAME, GO, UNSUPPORTED = 1, 7, 0x80000001
GREETING = MAGIC + OPTION_MAGIC + struct.pack(">H", 3)
NO_CODE, CUT = 1005, 1006


class Refused(Exception):
    """The upgrade was answered otherwise."""

    def __init__(self, answer):
        super().__init__(str(answer))
        self.answer = answer


class Ended(Exception):
    """The other side has closed the WebSocket, or is gone."""


def xor(data, mask):
    size = len(data)
    stream = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(stream, "little")).to_bytes(size, "little")


def frame(opcode, payload=b"", fin=True, reserved=0, masked=True, length=None):
    """Bytes of a frame. `length`: what its header claims."""
    claimed = len(payload) if length is None else length
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    flag = 0x80 if masked else 0
    if claimed < 126:
        head = struct.pack(">BB", first, flag | claimed)
    elif claimed < 1 << 16:
        head = struct.pack(">BBH", first, flag | 126, claimed)
    else:
        head = struct.pack(">BBQ", first, flag | 127, claimed)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + xor(payload, mask)


def upgrade_fields(protocol=None, key=None):
    fields = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
              "Sec-WebSocket-Key": key or base64.b64encode(os.urandom(16)).decode()}
    if protocol is not None:
        fields["Sec-WebSocket-Protocol"] = protocol
    return fields


class WebSocket:
    """What the browser's network layer does: pings are answered, a close is echoed."""

    def __init__(self, web, path, protocol=None, headers=(), cookies=True, origin=True, pipelined=b""):
        fields = upgrade_fields(protocol)
        if origin:
            fields["Origin"] = web.origin
        fields.update(headers)
        self.wire = web.connect()
        try:
            self.wire.sendall(web.text("GET", path, fields, cookies=cookies) + pipelined)
            reader = AnswerReader(self.wire)
            self.answer = reader.next()
        except BaseException:
            self.wire.cut()
            raise
        if not self.answer or self.answer.status != 101:
            self.wire.close()
            raise Refused(self.answer)
        accept = fields["Sec-WebSocket-Key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        assert self.answer.get("Sec-WebSocket-Accept") == base64.b64encode(hashlib.sha1(accept).digest()).decode()
        assert self.answer.get("Upgrade") == "websocket" and not self.answer.all("Sec-WebSocket-Extensions")
        self.protocol = self.answer.get("Sec-WebSocket-Protocol")
        self.buffer = bytearray(self.answer.rest)
        self.code, self.reason, self.closing = None, "", False
        self.answers_pings = True

    def send(self, opcode, payload=b"", **how):
        self.wire.sendall(frame(opcode, payload, **how))

    def need(self, size):
        while len(self.buffer) < size:
            data = self.wire.recv()
            if not data:
                raise Ended
            self.buffer += data

    def read_frame(self):
        self.need(2)
        first, length = self.buffer[0], self.buffer[1]
        assert not first & 0x70 and not length & 0x80, "a server's frame is not masked and has no reserved bits"
        at = 2
        if length >= 126:
            at = 4 if length == 126 else 10
            self.need(at)
            length = int.from_bytes(self.buffer[2:at], "big")
        self.need(at + length)
        payload = bytes(self.buffer[at : at + length])
        del self.buffer[: at + length]
        return bool(first & 0x80), first & 15, payload

    def read(self):
        """The bytes of one data frame. Raises Ended; then code and reason are known."""
        while True:
            try:
                fin, opcode, payload = self.read_frame()
            except (Ended, OSError):
                if self.code is None:
                    self.code = CUT
                raise Ended from None
            if opcode == CLOSE:
                self.code = int.from_bytes(payload[:2], "big") if payload else NO_CODE
                self.reason = payload[2:].decode()
                self.close()
                self.wire.close()
                raise Ended
            if opcode == PING:
                if self.answers_pings:
                    self.send(PONG, payload)
            elif opcode in (BINARY, CONTINUATION):
                return payload
            else:
                assert opcode == PONG, opcode

    def close(self, code=None, reason=""):
        if self.closing:
            return
        self.closing = True
        try:
            self.send(CLOSE, b"" if code is None else struct.pack(">H", code) + reason.encode())
        except OSError:
            pass


# --- what is served ---


class Image:
    """Bytes."""

    def __init__(self, data):
        self.data, self.size = bytearray(data), len(data)
        self.lock = threading.Lock()

    def read(self, offset, length):
        with self.lock:
            return bytes(self.data[offset : offset + length])

    def write(self, offset, data):
        with self.lock:
            self.data[offset : offset + len(data)] = data


class Sparse:
    """A large image that takes no room: each block is the same noise, with its number in front."""

    BLOCK = 1 << 16

    def __init__(self, size, seed=1):
        self.size = size
        self.noise = random.Random(seed).randbytes(self.BLOCK - 8)

    def read(self, offset, length):
        first, last = offset // self.BLOCK, (offset + length - 1) // self.BLOCK
        data = b"".join(struct.pack(">Q", n) + self.noise for n in range(first, last + 1))
        return data[offset - first * self.BLOCK :][:length]


# --- who serves it ---

FLAVOURS = ("page", "jsnbd", "webui-vue", "phosphor-webui", "webui-vue 2025-11")


class Browser:
    """Serves the image until the other side closes. With `page` the login is a ticket, with webui-vue the CSRF
    token beside the cookie, with jsnbd (which knows of none) Basic. `ended` is set at the end, and then `code` and
    `reason` are those of the close. `faults` are things that the daemon did and may not do."""

    def __init__(self, web, image, slot="slot0", flavour="page", path=None, name="disk.iso", identity=None,
                 writable=False, index=0, begin=True, **changes):
        self.web, self.image, self.slot, self.flavour, self.writable = web, image, slot, flavour, writable
        self.path, self.name, self.index = path, name, index
        self.identity = identity or {"name": name, "size": image.size, "lastModified": 1700000000000, "samples": ["00" * 32]}
        self.greeting, self.export, self.pieces = GREETING, None, None
        self.budget, self.at_budget = None, None
        self.on_request = None
        self.no_zeroes = False
        self.requests, self.faults, self.options = [], [], []
        self.input = b""
        self.code, self.reason = None, ""
        self.serving, self.ended = threading.Event(), threading.Event()
        self.socket, self.error = None, None
        for key, value in changes.items():
            assert hasattr(self, key), key
            setattr(self, key, value)
        if begin:
            self.connect()
            self.begin()

    # --- the WebSocket ---

    def connect(self):
        headers, cookies, protocol, path = {}, True, None, self.path
        if self.flavour == "page":
            answer = self.web.ticket(self.slot, self.identity)
            if answer.status != 200:
                raise Refused(answer)
            path, protocol = answer.json()["url"], answer.json()["protocol"]
        elif self.flavour == "jsnbd":
            user = self.web.user or "admin"
            text = base64.b64encode(f"{user}:{PASSWORDS[user]}".encode()).decode()
            headers, cookies = {"Authorization": f"Basic {text}"}, False
        else:
            protocol = self.web.cookies.get("XSRF-TOKEN", self.web.csrf)
        self.socket = WebSocket(self.web, path or f"/nbd/{self.slot}", protocol, headers, cookies)
        assert self.socket.protocol == protocol

    def begin(self):
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            self.serve()
        except Ended:
            pass
        except OSError as error:
            self.error = error
        except BaseException as error:
            self.faults.append(repr(error))
            raise
        finally:
            self.code = self.socket.code if self.socket.code is not None else CUT
            self.reason = self.socket.reason
            self.socket.wire.cut(reset=False)
            self.ended.set()

    def wait_end(self, seconds=30):
        assert self.ended.wait(seconds), "the WebSocket was not closed"
        return self.code

    def wait_serving(self, seconds=30):
        wait_for(lambda: self.serving.is_set() or self.ended.is_set(), "the handshake", seconds)
        assert self.serving.is_set(), (self.code, self.reason, self.faults)
        return self

    def stop(self, code=1000, reason=""):
        """As its user does: deliberately."""
        self.socket.close(code, reason)

    def cut(self, reset=True):
        """As when the network goes."""
        self.socket.wire.cut(reset)
        self.ended.wait(30)

    # --- bytes ---

    def send(self, data):
        """One PDU, which is one message; cut into `pieces` frames of a message if wanted. When the budget of bytes
        is spent, what is to happen then does."""
        if self.budget is not None:
            if len(data) > self.budget:
                if self.budget:
                    self.socket.send(BINARY, data[: self.budget])
                self.budget = 0
                self.at_budget(self)
                self.read_until_end()
            self.budget -= len(data)
        if not self.pieces:
            self.socket.send(BINARY, data)
            return
        parts = [data[at : at + self.pieces] for at in range(0, len(data), self.pieces)] or [b""]
        for i, part in enumerate(parts):
            self.socket.send(CONTINUATION if i else BINARY, part, fin=i + 1 == len(parts))

    def take(self, size):
        while len(self.input) < size:
            self.input += self.socket.read()
        data, self.input = self.input[:size], self.input[size:]
        return data

    def read_until_end(self):
        while True:
            self.socket.read()

    # --- NBD ---

    def serve(self):
        self.send(self.greeting)
        flags = struct.unpack(">I", self.take(4))[0]
        self.no_zeroes = bool(flags & 2)
        if flags & ~3:
            self.faults.append(f"client flags {flags:x}")
        while not self.option():
            pass
        self.serving.set()
        while True:
            magic, flags, kind, cookie, offset, length = struct.unpack(">IHHQQI", self.take(28))
            if magic != REQUEST_MAGIC:
                self.faults.append(f"request magic {magic:x}")
            data = self.take(length) if kind == WRITE else b""
            self.requests.append((kind, offset, length))
            if not (self.on_request and self.on_request(self, kind, cookie, offset, length, data)):
                self.answer(kind, flags, cookie, offset, length, data)

    def option(self):
        """True when it was the last."""
        magic, option, length = struct.unpack(">8sII", self.take(16))
        data = self.take(length)
        self.options.append(option)
        if magic != OPTION_MAGIC:
            self.faults.append(f"option magic {magic}")
        if option == EXPORT_NAME:
            tail = b"" if self.no_zeroes else bytes(124)
            self.send((self.export or struct.pack(">QH", self.told_size(), self.transmission_flags())) + tail)
            return True
        if option == GO and self.flavour == "page":
            if len(data) < 6:
                self.faults.append("GO without its data")
            info = self.export or struct.pack(">QH", self.told_size(), self.transmission_flags())
            self.reply_option(option, 3, b"\0\0" + info)
            self.reply_option(option, 3, struct.pack(">HIII", 3, 1, 65536, 32 << 20))
            self.reply_option(option, 1)
            return True
        self.reply_option(option, UNSUPPORTED)
        return False

    def reply_option(self, option, kind, data=b""):
        self.send(struct.pack(">QIII", OPTION_REPLY, option, kind, len(data)) + data)

    def told_size(self):
        if self.flavour == "webui-vue 2025-11":
            low = self.image.size & 0xFFFFFFFF
            return low << 32 | low
        return self.image.size

    def transmission_flags(self):
        return 1 | 4 if self.writable else 1 | 2

    def reply(self, cookie, data=b"", error=0, magic=REPLY_MAGIC):
        self.send(struct.pack(">IIQ", magic, error, cookie) + data)

    def answer(self, kind, flags, cookie, offset, length, data):
        if flags:
            self.faults.append(f"request flags {flags:x}")
        if kind == DISC:
            self.socket.close(1000 if self.flavour == "page" else None)
        elif kind == READ and offset + length > self.image.size:
            self.faults.append(f"a read of {offset}+{length} beyond the end")
            self.reply(cookie, error=EINVAL if self.flavour == "page" else ENOSPC)
            if self.flavour.startswith("webui-vue"):
                self.socket.close()
        elif kind == READ:
            self.reply(cookie, self.image.read(offset, length))
        elif kind == WRITE and self.writable:
            self.image.write(offset, data)
            self.reply(cookie)
        elif kind in (WRITE, TRIM):
            self.faults.append("a write to a read-only image")
            self.reply(cookie, error=EPERM)
        elif kind == FLUSH and self.flavour == "page":
            self.reply(cookie)
        else: # what these servers do not know
            self.faults.append(f"a command {kind} that was not offered")
            self.reply(cookie, error=EINVAL)
