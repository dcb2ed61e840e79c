"""Who knows which bytes are right in a chaos: the images, the server that has them, and the host that reads them."""
import random
import struct
import time

from liar import Liar, stall


# --- images, which their sizes tell apart ---

SERVED = {"one.iso": 3_000_320, "two.iso": 1_500_123, "big.img": 9 << 20, "tiny.img": 512}
STORED = {"a.iso": 70_000, "b.iso": 300_000, "c.img": 1_400_001}
SHOWN = {"disk.iso": 1 << 20, "other.iso": 5_000_192}  # by browsers
FILE = 2 << 20
ROOM = 4096  # what a drive may be larger than its image

CONTENT = {size: random.Random(size).randbytes(size) for size in (*SERVED.values(), *STORED.values(), *SHOWN.values(), FILE)}
CHANGED = {size: bytes(reversed(CONTENT[size])) for size in SERVED.values()}  # what a server has after its image was changed
OPPOSITE = bytes(255 - byte for byte in range(256))


def content_of(size):
    """What a drive of this size holds; None: there is no such image."""
    for image, content in CONTENT.items():
        if image <= size < image + ROOM:
            return content + bytes(size - image)
    return None


def is_right(data, expected, written):
    """Where there may have been writes each byte is the image's, its opposite (which is all that is written), or trimmed."""
    if data == expected or not written:
        return data == expected
    return len(data) == len(expected) and all(a == b or a == b ^ 255 or a == 0 for a, b in zip(data, expected))


# --- the images' server ---


class Origin(Liar):
    """/good/NAME is served as it should be; /slow/NAME late; /bad/NAME at times not at all or wrongly, so that one can tell."""

    def __init__(self, seed):
        super().__init__(b"")
        self.random = random.Random(seed)
        self.behaviour = self.behave

    def behave(self, request):
        self.requests.clear()  # it may run for hours
        _, manner, name = (request.path.split("/") + ["", ""])[:3]
        size = SERVED.get(name)
        if size is None or request.range is None or request.range[0] >= size:
            request.answer(404)
            return
        request.range = request.range[0], min(request.range[1], size - 1)
        if manner == "moved":
            request.answer(302, [("Location", f"/good/{name}")])
        elif manner == "slow":
            time.sleep(self.random.random() / 2)
            request.partial(CONTENT[size], '"1"')
        elif manner == "bad" and self.random.random() < 0.3:
            self.random.choice(self.WRONGS)(self, request, CONTENT[size])
        else:
            request.partial(CONTENT[size], '"1"')

    def short(self, request, image):
        request.partial(image, '"1"', cut=(request.range[1] - request.range[0]) // 2)

    def elsewhere(self, request, image):
        first, last = request.range
        size = last - first
        at = self.random.randrange(len(image) - size)
        request.answer(206, [("Content-Range", f"bytes {at}-{at + size}/{len(image)}"), ("ETag", '"1"')], image[at : at + size + 1])

    def drip(self, request, image):
        first, last = request.range
        request.send(f"HTTP/1.1 206 X\r\nETag: \"1\"\r\nContent-Length: {last - first + 1}\r\n"
                     f"Content-Range: bytes {first}-{last}/{len(image)}\r\n\r\n".encode())
        for at in range(first, min(last + 1, first + 40)):
            request.send(image[at : at + 1])
            time.sleep(0.05)
        request.reset()

    WRONGS = (
        short, elsewhere, drip,
        lambda self, request, image: request.reset(),
        lambda self, request, image: request.close(),
        lambda self, request, image: stall(request),
        lambda self, request, image: request.answer(503, [("Retry-After", "1")]),
        lambda self, request, image: request.answer(429, [("Retry-After", "1")]),
        lambda self, request, image: request.answer(404),
        lambda self, request, image: request.answer(200, [("ETag", '"1"')], image[:100]),
        lambda self, request, image: request.partial(CHANGED[len(image)], '"2"'),
        lambda self, request, image: request.partial(image, '"1"', total=len(image) + 1),
        lambda self, request, image: request.partial(image, '"1"', extra=[("Content-Encoding", "gzip")]),
        lambda self, request, image: request.send(self.random.randbytes(300)),
        lambda self, request, image: request.send(b"HTTP/1.1 206 X\r\n" + b"X: y\r\n" * 20_000),
    )


# --- NBD ---

EXPORT_NAME, LIST, GO, STRUCTURED = 1, 3, 7, 8
READ, WRITE, DISCONNECT, FLUSH, TRIM, CACHE, WRITE_ZEROES = range(7)
READ_ONLY = 2
SIMPLE_MAGIC, CHUNK_MAGIC = 0x67446698, 0x668E33EF


class Host:
    """An NBD client that knows which bytes are right. Raises EOFError when the export goes."""

    def __init__(self, wire, structured):
        self.wire, self.structured, self.buffer = wire, structured, b""
        self.take(18)
        wire.sendall(struct.pack(">I", 3))
        if structured:
            self.option(STRUCTURED)
            self.size, self.flags = self.option(GO, struct.pack(">IH", 0, 0))
        else:
            self.send_option(EXPORT_NAME)
            self.size, self.flags = struct.unpack(">QH", self.take(10))
        self.expected = content_of(self.size)
        self.written = not self.flags & READ_ONLY or self.size == FILE

    def take(self, size):
        while len(self.buffer) < size:
            data = self.wire.recv()
            if not data:
                raise EOFError
            self.buffer += data
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def send_option(self, option, data=b""):
        self.wire.sendall(b"IHAVEOPT" + struct.pack(">II", option, len(data)) + data)

    def option(self, option, data=b""):
        """The export's size and flags if it is told."""
        self.send_option(option, data)
        export = None
        while True:
            _, _, kind, length = struct.unpack(">QIII", self.take(20))
            data = self.take(length)
            if kind & 0x80000000:
                raise EOFError
            if kind == 3 and data[:2] == b"\0\0":
                export = struct.unpack(">QH", data[2:12])
            if kind == 1:
                return export

    def request(self, kind, cookie, offset, length, flags=0):
        data = b""
        if kind == WRITE and self.expected:
            data = self.expected[offset : offset + length].translate(OPPOSITE)
            data += bytes(length - len(data))
        return struct.pack(">IHHQQI", 0x25609513, flags, kind, cookie, offset, length) + data

    def answer(self, sent):
        """Reads one reply or chunk to what was sent, {cookie: (kind, offset, length)}; words if it is wrong."""
        magic = struct.unpack(">I", self.take(4))[0]
        if magic == SIMPLE_MAGIC:
            error, cookie = struct.unpack(">IQ", self.take(12))
            if cookie not in sent:
                return f"a reply to nothing, {cookie:x}"
            kind, offset, length = sent.pop(cookie)
            return None if error or kind != READ else self.check(offset, self.take(length))
        if magic != CHUNK_MAGIC:
            return f"magic {magic:x}"
        flags, kind, cookie, length = struct.unpack(">HHQI", self.take(16))
        data = self.take(length)
        if cookie not in sent:
            return f"a chunk for nothing, {cookie:x}"
        _, offset, size = sent.pop(cookie) if flags & 1 else sent[cookie]
        if kind == 1:
            at = struct.unpack(">Q", data[:8])[0]
            inside = offset <= at and at + len(data) - 8 <= offset + size
            return self.check(at, data[8:]) if inside else f"a chunk at {at} for {size} at {offset}"
        if kind == 2:
            return self.check(*(lambda at, n: (at, bytes(n)))(*struct.unpack(">QI", data)))
        return None

    def check(self, offset, data):
        if self.expected is None:
            return f"an export of {self.size} bytes"
        if is_right(data, self.expected[offset : offset + len(data)], self.written):
            return None
        return f"wrong bytes of {self.size}: {len(data)} at {offset}"
