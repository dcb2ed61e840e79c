"""What is configured to say who we are goes to the server that it is for, and nowhere else: by every protocol, door and redirect."""
import socket
import threading

import pytest

from conftest import wait_for
from doors import DOORS, IMAGE, eject, insert, server, trap  # noqa: F401
from ftpd import USER
from redfish_client import INSERT, Client, own, users  # noqa: F401
from relay import connections
from sshd import SftpLiar, fingerprint
from test_http import basic
from test_nbd import handle

LOGIN = ("user=bob", "password=CANARY-PASSWORD")
ALL = (*LOGIN, "client-certificate=@client.pem", "client-key=@client.key", "ssh-key=@ssh")


def settings(section, certificates, tmp_path, values=ALL):
    places = {"@client.pem": f"{certificates}/client.pem", "@client.key": f"{certificates}/client.key", "@ssh": str(tmp_path / "liar_host")}
    lines = []
    for value in values:
        name, text = value.split("=")
        lines.append(f"{section}.{name}={places.get(text, text)}")
    return lines


class FtpTrap:
    """Refuses every login, and keeps what it was sent."""

    def __init__(self):
        self.said = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        for client in connections(self.listener):
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        answers = {b"AUTH": b"502 no\r\n", b"USER": b"331 password\r\n", b"PASS": b"530 no\r\n"}
        try:
            client.sendall(b"220 hello\r\n")
            while data := client.recv(4096):
                self.said.append(data)
                client.sendall(answers.get(data[:4], b"500 no\r\n"))
        except OSError:
            pass

    def stop(self):
        self.listener.close()


@pytest.fixture
def ftp_trap():
    trap = FtpTrap()
    yield trap
    trap.stop()


@pytest.fixture
def sftp_trap(tmp_path):
    liar = SftpLiar(IMAGE, tmp_path)
    yield liar
    liar.stop()


def demand(request):
    """Of a server that wants a login, and takes none."""
    request.answer(401, [("WWW-Authenticate", 'Basic realm="x"')])


def authorizations(liar):
    return [r.headers["authorization"] for r in liar.requests if "authorization" in r.headers]


@pytest.mark.parametrize("door", DOORS)
def test_nothing_goes_to_a_server_that_an_operator_names(own, server, trap, ftp_trap, sftp_trap, certificates, tmp_path, door):  # noqa: F811
    trap.behaviour = demand
    d = own(f"http.ssh-host-key={fingerprint(sftp_trap.key_path)}", *settings("http", certificates, tmp_path),
            f"slot.slot0.image={server.url()}", "credentials.a.origin=" + server.url("prod"), *settings("credentials.a", certificates, tmp_path),
            f"credentials.b.origin=sftp://127.0.0.1:{sftp_trap.port}/prod", *settings("credentials.b", certificates, tmp_path))
    wait_for(lambda: d.slot()["state"] == "ready", "the configured image")
    assert basic("bob", "CANARY-PASSWORD") not in authorizations(trap)
    eject(d)
    for url in (trap.url(), trap.url("prod/x.iso"), f"ftp://127.0.0.1:{ftp_trap.port}/x.iso",
                f"sftp://127.0.0.1:{sftp_trap.port}/prod-evil/x.iso", f"sftp://127.0.0.1:{sftp_trap.port}/prod/..%2fx.iso"):
        assert not insert(d, door, url).good, url
    assert trap.requests and not authorizations(trap)
    assert ftp_trap.said and not any(b"CANARY" in line or b"bob" in line for line in ftp_trap.said)
    assert not any(USER in str(entry) or "bob" in str(entry) for entry in sftp_trap.logins)


def test_the_configured_image_has_its_login(own, server, trap):  # noqa: F811
    """And a reload changes what the next insert is sent."""
    server.behaviour = lambda r: r.partial(IMAGE) if r.headers.get("authorization") == basic("bob", "CANARY-PASSWORD") else demand(r)
    d = own("http.user=bob", "http.password=CANARY-PASSWORD", f"slot.slot0.image={server.url()}")
    wait_for(lambda: d.slot()["state"] == "ready", "the configured image")
    assert handle(d.uri()).pread(1000, 0) == IMAGE[:1000]
    assert "401" in d.error(f"insert 1 {server.url()}")  # the other slot's image it is not
    trap.behaviour = demand
    eject(d)
    d.error(f"insert 0 {trap.url()}")
    d.ok(f"insert 0 {server.url('other.iso')}")
    assert not authorizations(trap)


def test_a_reload_takes_other_credentials(daemon, server):  # noqa: F811
    server.behaviour = lambda r: r.partial(IMAGE) if r.headers.get("authorization") == "Bearer new" else demand(r)
    text = "[slot slot0]\nattach = socket\n[credentials a]\norigin = %s\nbearer-token = %s\n"
    d = daemon(config=text % (server.url("prod/"), "old"))
    assert "401" in d.error(f"insert 0 {server.url('prod/image.iso')}")
    d.config.write_text(text % (server.url("prod/"), "new"))
    d.ok("reload")
    d.ok(f"insert 0 {server.url('prod/image.iso')}")
    assert handle(d.uri()).pread(1000, 5000) == IMAGE[5000:6000]
    d.config.write_text(text % ("https://u:p@h/", "newer"))
    assert "a: origin: expected SCHEME://HOST" in d.error("reload")
    d.ok("eject 0")
    d.ok(f"insert 0 {server.url('prod/image.iso')}")
    assert "[credentials a]" in d.log() and "Bearer" not in d.log()


@pytest.mark.parametrize("where", ["another port", "another path", "and back"])
def test_a_redirect_takes_them_nowhere(daemon, server, trap, where):  # noqa: F811
    """Out of the origin's path neither; what comes back into it is sent them again."""
    def behave(request):
        if request.path == "/prod/image.iso":
            return request.answer(302, [("Location", {"another port": trap.url("prod/image.iso"), "another path": server.url("evil.iso"),
                                                      "and back": trap.url("back")}[where])])
        request.partial(IMAGE)

    server.behaviour = behave
    trap.behaviour = lambda r: r.answer(302, [("Location", server.url("prod/found.iso"))]) if r.path == "/back" else r.partial(IMAGE)
    d = daemon(f"credentials.a.origin={server.url('prod')}", "credentials.a.bearer-token=CANARY")
    d.ok(f"insert 0 {server.url('prod/image.iso')}")
    assert handle(d.uri()).pread(100_000, 1000) == IMAGE[1000:101_000]
    assert not authorizations(trap)
    for request in server.requests:
        assert ("authorization" in request.headers) == request.path.startswith("/prod/"), request.path


def test_a_client_certificate_stays_too(daemon, nginx, ca, certificates, tmp_path, server):  # noqa: F811
    """Also where another server asks for one; and what an insert gives goes along with it."""
    keys = ("client-certificate=@client.pem", "client-key=@client.key")
    d = daemon(ca, f"credentials.m.origin={nginx.url('', 'mutual')}", *settings("credentials.m", certificates, tmp_path, keys))
    d.ok(f"insert 0 {nginx.url('image.iso', 'mutual')} user=a password=b")
    d.ok("eject 0")
    e = daemon(ca, f"credentials.m.origin={server.url()}", f"credentials.n.origin={nginx.url('elsewhere', 'mutual')}",
               *settings("credentials.m", certificates, tmp_path, keys), *settings("credentials.n", certificates, tmp_path, keys))
    server.behaviour = lambda r: r.answer(302, [("Location", nginx.url("image.iso", "mutual"))])
    assert "400" in e.error(f"insert 0 {nginx.url('image.iso', 'mutual')}")  # nginx: No required SSL certificate was sent
    assert "400" in e.error(f"insert 0 {server.url()}")


def test_who_reads_from_an_nfs_server_is_for_administrators(own):
    url = "nfs://127.0.0.1:1/srv/image.iso?uid=0"
    d, words = own("http.io-timeout=1s"), "only an administrator may say"
    for door in DOORS[:3]:
        outcome = insert(d, door, url)
        assert not outcome.good and outcome.status == 400 and words in outcome.words, outcome
    assert words in insert(d, "page", url.replace("uid", "gid")).words
    answer = Client(d, "admin").post(INSERT, {"Image": url})
    assert answer.status == 400 and words not in answer.messages[0]["Message"]
    assert words not in d.error(f"insert 0 {url}")
    e = own("http.nfs-ids=yes", "http.io-timeout=1s")
    assert words not in insert(e, "page", url).words
