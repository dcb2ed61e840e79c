"""An HTTP server that lies on command. `behaviour` is a function that gets the
request and answers on it; it may be changed at any time."""
import base64
import hashlib
import re
import socket
import socketserver
import ssl
import struct
import sys
import threading

import pytest


class Request:
    def __init__(self, connection, method, path, headers, number):
        self.connection, self.method, self.path, self.headers, self.number = connection, method, path, headers, number
        match = re.match(r"bytes=(\d+)-(\d+)$", headers.get("range", ""))
        self.range = (int(match[1]), int(match[2])) if match else None

    def send(self, data):
        self.connection.sendall(data)

    def answer(self, status, headers=(), body=b"", length=None):
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body) if length is None else length}"]
        lines += [f"{name}: {value}" for name, value in headers]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def partial(self, image, etag='"one"', modified=None, change=None, first=None, last=None, total=None, extra=(), cut=None):
        """A right 206 unless told otherwise. `change` is the whole Content-Range."""
        a, b = self.range
        body = image[a : b + 1]
        content_range = change if change is not None else (
            f"bytes {a if first is None else first}-{b if last is None else last}/{len(image) if total is None else total}")
        headers = list(extra)
        if content_range:
            headers.append(("Content-Range", content_range))
        if etag:
            headers.append(("ETag", etag))
        if modified:
            headers.append(("Last-Modified", modified))
        self.answer(206, headers, body if cut is None else body[:cut], length=len(body))
        if cut is not None:
            self.close()

    def close(self):
        self.connection.close()

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        liar = self.server.liar
        liar.connections += 1
        buffer = b""
        try:
            while True:
                while b"\r\n\r\n" not in buffer:
                    data = self.request.recv(65536)
                    if not data:
                        return
                    buffer += data
                head, buffer = buffer.split(b"\r\n\r\n", 1)
                lines = head.decode("latin-1").split("\r\n")
                method, path, _ = lines[0].split(" ", 2)
                headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}
                with liar.lock:
                    request = Request(self.request, method, path, headers, len(liar.requests))
                    liar.requests.append(request)
                liar.behaviour(request)
        except OSError:
            pass


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A handler that fails fails its test; a client that hangs up is no failure."""
        if not isinstance(sys.exc_info()[1], OSError):
            raise


class Liar:
    """With `pair`, a certificate and its key, it speaks TLS."""

    def __init__(self, image, address=("127.0.0.1", 0), pair=None):
        self.image, self.scheme = image, "https" if pair else "http"
        self.requests = []
        self.connections = 0
        self.lock = threading.Lock()
        self.behaviour = self.honest
        self.server = Server(address, Handler)
        self.server.liar = self
        if pair:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*map(str, pair))
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def honest(self, request):
        request.partial(self.image)

    def url(self, path="image.iso"):
        return f"{self.scheme}://{self.server.server_address[0]}:{self.port}/{path}"

    @property
    def port(self):
        return self.server.server_address[1]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def digest_behaviour(liar, user, password):
    """RFC 7616, MD5, qop=auth."""
    def md5(text):
        return hashlib.md5(text.encode()).hexdigest()

    def behave(request):
        given = request.headers.get("authorization", "")
        fields = dict(re.findall(r'(\w+)="?([^",]+)"?', given))
        if given.startswith("Digest "):
            ha1 = md5(f"{user}:realm:{password}")
            ha2 = md5(f"{request.method}:{request.path}")
            want = md5(":".join([ha1, fields["nonce"], fields["nc"], fields["cnonce"], "auth", ha2]))
            if fields.get("response") == want:
                return request.partial(liar.image)
        request.answer(401, [("WWW-Authenticate", 'Digest realm="realm", nonce="abc123", qop="auth", algorithm=MD5')], b"no")

    return behave


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def stall(request):
    """Says nothing more, until the client goes."""
    while request.connection.recv(65536):
        pass


@pytest.fixture
def liar(request):
    """One that serves the module's IMAGE."""
    server = Liar(request.module.IMAGE)
    yield server
    server.stop()
