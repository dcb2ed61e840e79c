"""Which servers images may come from: what the URL's host, its name and its redirects lead to; what certificates they
need; and who gets to see the credentials."""
import contextlib
import socket
import threading
import time

import nbd
import pytest

from conftest import openssl, wait_for
from doors import DOORS, IMAGE, eject, elsewhere, insert, server, trap  # noqa: F401 (fixtures)
from liar import Liar, Server, basic
from redfish_client import INSERT, SLOT, Client, own, users  # noqa: F401 (fixtures)
from test_http import Proxy
from test_nbd import handle

LOCAL = ["127.0.0.1", "127.1", "127.255.255.254", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "0", "0.0.0.0",
         "localhost", "LOCALHOST", "[::1]", "[::]", "[::127.0.0.1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
         "[::ffff:0:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "169.254.169.254", "[::ffff:169.254.169.254]",
         "[fe80::1]"]
OTHER_LETTERS = ["127\u30020\u30020\u30021", "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460", "\uff11\uff12\uff17.0.0.1"]
MANY = ["224.0.0.1", "255.255.255.255", "[ff02::1]"]
NO = "http.allow-local=no"


def own_address():
    """That other machines know this one by, if there are any."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("192.0.2.1", 9))  # sends nothing
        return [s.getsockname()[0]]
    return []


# --- addresses ---


@pytest.mark.parametrize("door", DOORS)
def test_images_do_not_come_from_this_machine(own, trap, door):
    d = own(NO)
    for host in LOCAL + own_address():
        began = time.monotonic()
        outcome = insert(d, door, f"http://{host}:{trap.port}/x.iso")
        assert not outcome.good and outcome.status in (None, 400) and "allow-local" in outcome.words, (host, outcome)
        assert outcome.message in (None, "ImageNotAllowed")
        assert time.monotonic() - began < 5
    for host in MANY:
        assert "not the address of one machine" in insert(d, door, f"http://{host}:{trap.port}/x.iso").words, host
    for host in OTHER_LETTERS:
        assert "beyond ASCII" in insert(d, door, f"http://{host}:{trap.port}/x.iso").words, host
    assert trap.connections == 0


def test_a_refusal_is_logged_once_and_tried_once(own, trap):
    d = own(NO)
    assert not insert(d, "InsertMedia", trap.url()).good
    time.sleep(0.6)  # a second try would come after half of that
    assert d.log().count("allow-local") == 1 and d.slot()["state"] == "empty" and trap.connections == 0


def test_nor_is_the_configured_image(daemon, trap):
    d = daemon(NO, f"slot.slot0.image={trap.url()}")
    wait_for(lambda: "the configured image is not in yet" in d.log(), "the refusal")
    assert "allow-local" in d.log() and trap.connections == 0


def test_a_connection_of_another_slot_is_not_used(own, server):
    d = own("slot.slot1.allow-local=no")
    d.ok(f"insert 0 {server.url()}")
    made, asked = server.connections, len(server.requests)
    assert "allow-local" in d.error(f"insert 1 {server.url()}")
    assert (server.connections, len(server.requests)) == (made, asked)
    d.ok("eject 0")
    d.ok(f"insert 0 {server.url()}")  # nor is one of a medium that is no more
    assert (server.connections, len(server.requests)) == (2 * made, 2 * asked)


@pytest.mark.parametrize("door", DOORS)
def test_neither_do_they_by_a_redirect_or_a_name(own, elsewhere, server, trap, door):
    d = own(NO, environment=elsewhere)
    remote = f"http://remote.test:{server.port}/x.iso"
    assert insert(d, door, remote).good
    eject(d)
    for host in ("127.0.0.1", "localhost", "[::1]", "0x7f000001", "local.test", "169.254.7.1"):
        server.behaviour = lambda r: r.answer(302, [("Location", f"http://{host}:{trap.port}/x.iso")])
        outcome = insert(d, door, remote)
        assert not outcome.good and "allow-local" in outcome.words, (host, outcome)
    server.behaviour = server.honest
    assert "allow-local" in insert(d, door, f"http://local.test:{trap.port}/x.iso").words
    assert trap.connections == 0
    # Of a name with two addresses the other one is taken.
    assert insert(d, door, f"http://mixed.test:{server.port}/x.iso").good


def test_neighbours_may_be_allowed_without_this_machine(own, elsewhere, server, trap):
    d = own("http.allow-local=link", environment=elsewhere)
    assert insert(d, "InsertMedia", f"http://169.254.7.1:{server.port}/x.iso").good
    eject(d)
    for host in ("127.0.0.1", "[::1]", "local.test"):
        assert "this machine itself" in insert(d, "InsertMedia", f"http://{host}:{trap.port}/x.iso").words, host
    assert trap.connections == 0


def test_a_medium_is_lost_when_its_name_leads_here(own, elsewhere, server):
    """The reads of one that is in are judged as the insert was."""
    d = own(NO, "http.io-timeout=1s", environment=elsewhere)
    server.behaviour = lambda r: (r.answer(302, [("Location", f"http://192.0.2.1:{server.port}/y.iso")]) if "x.iso" in r.path
                                  else r.partial(IMAGE))
    assert insert(d, "control", f"http://remote.test:{server.port}/x.iso").good
    h = handle(d.uri())
    assert h.pread(4096, 0) == IMAGE[:4096]
    server.behaviour = lambda r: r.answer(302, [("Location", f"http://127.0.0.1:{server.port}/y.iso")])
    before = len(server.requests)
    with pytest.raises(nbd.Error):
        h.pread(4096, 90_000)
    wait_for(lambda: "allow-local" in (d.slot()["error"] or ""), "the probe")
    assert len(server.requests) > before and not any("127.0.0.1" in r.headers["host"] for r in server.requests)


def test_a_proxy_may_be_here(own, trap, server):
    proxy = Server(("127.0.0.1", 0), Proxy)
    proxy.seen = []
    threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        d = own(NO, f"http.proxy=http://127.0.0.1:{proxy.server_address[1]}", environment={"no_proxy": "*"})
        assert insert(d, "InsertMedia", server.url()).good
        assert len(proxy.seen) == 1 and server.connections == 1  # the environment makes no exception
    finally:
        proxy.shutdown()
        proxy.server_close()


# --- credentials ---


@pytest.mark.parametrize("differs", ["host", "port"])
@pytest.mark.parametrize("door", DOORS)
def test_credentials_do_not_follow_a_redirect(own, server, door, differs):
    other = Liar(IMAGE, ("127.0.0.2", server.port) if differs == "host" else ("127.0.0.1", 0))
    try:
        d = own()
        server.behaviour = lambda r: (r.answer(302, [("Location", other.url())]) if "authorization" in r.headers
                                      else r.answer(401, [("WWW-Authenticate", 'Basic realm="x"')]))
        assert insert(d, door, server.url(), "alice", "CANARY").good
        assert handle(d.uri()).pread(50_000, 1000) == IMAGE[1000:51_000]
        told = [r.headers["authorization"] for r in server.requests if "authorization" in r.headers]
        assert told and set(told) == {basic("alice", "CANARY")}
        assert len(other.requests) > 1 and not any("authorization" in r.headers for r in other.requests)
    finally:
        other.stop()


def test_nor_one_to_another_scheme(own, server, own_nginx):
    d = own()
    server.behaviour = lambda r: (r.answer(302, [("Location", own_nginx.url("auth/image.iso"))]) if "authorization" in r.headers
                                  else r.answer(401, [("WWW-Authenticate", 'Basic realm="x"')]))
    outcome = insert(d, "InsertMedia", server.url(), "alice", "CANARY-PASSWORD")  # which would be right there
    assert outcome.message == "ImageAccessDenied"
    wait_for(own_nginx.access, "the log")
    assert all(' 401 ' in line and ' "-" HTTP/' in line for line in own_nginx.access())


def test_nor_a_challenge_of_another_server(own, server):
    """Who is redirected to may ask for a password, and gets none."""
    other = Liar(IMAGE)
    try:
        d = own()
        other.behaviour = lambda r: r.answer(401, [("WWW-Authenticate", 'Digest realm="x", nonce="y", qop="auth"')])
        server.behaviour = lambda r: r.answer(302, [("Location", other.url())])
        assert insert(d, "InsertMedia", server.url(), "alice", "CANARY").message == "ImageAccessDenied"
        assert other.requests and not any("authorization" in r.headers for r in other.requests)
    finally:
        other.stop()


def test_but_one_within_the_server(own, server):
    d = own()
    server.behaviour = lambda r: (r.answer(401, [("WWW-Authenticate", 'Basic realm="x"')]) if "authorization" not in r.headers
                                  else r.answer(302, [("Location", "/moved.iso")]) if "moved" not in r.path
                                  else r.partial(IMAGE))
    assert insert(d, "InsertMedia", server.url(), "alice", "CANARY").good
    assert handle(d.uri()).pread(1000, 0) == IMAGE[:1000]
    assert [r.path for r in server.requests if "authorization" in r.headers][-1] == "/moved.iso"


# --- certificates ---


@pytest.fixture(scope="module")
def nameless(certificates, tmp_path_factory):
    """By our CA, with the server's name as its common name only."""
    place = tmp_path_factory.mktemp("nameless")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", place / "key", "-out", place / "csr")
    openssl("x509", "-req", "-in", place / "csr", "-CA", certificates / "ca.pem", "-CAkey", certificates / "ca.key", "-days",
            30, "-set_serial", 77, "-out", place / "pem")
    return place / "pem", place / "key"


@pytest.mark.parametrize("door", DOORS)
def test_a_common_name_is_no_name(own, nameless, certificates, door):
    d = own()
    for pair, good in ((nameless, False), ((certificates / "good.pem", certificates / "good.key"), True)):
        server = Liar(IMAGE, pair=pair)
        try:
            outcome = insert(d, door, server.url().replace("127.0.0.1", "localhost"))
            assert outcome.good is good, outcome
            assert good or ("subjectAltName" in outcome.words and not server.requests)
            assert good or outcome.message in (None, "ImageServerNotTrusted")
            if not good:
                d.ok(f"insert 0 {server.url()} verify=no")  # who does not check does not
                eject(d)
        finally:
            server.stop()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", ["wrong", "expired", "self"])
def test_a_certificate_must_be_right(own, nginx, door, name):
    outcome = insert(own(), door, nginx.url("image.iso", name))
    assert not outcome.good and outcome.message in (None, "ImageServerNotTrusted") and "certificate" in outcome.words.lower()


def test_who_leaves_certificates_unchecked_is_in_the_audit_log(own, nginx):
    d = own()
    url, line = nginx.url("image.iso", "self"), 'audit: certificates unchecked: user="admin" peer="127.0.0.1" subject="slot0"'
    admin, operator = Client(d, "admin"), Client(d, "operator")
    assert operator.patch(SLOT, {"VerifyCertificate": False}).status == 403
    assert operator.post("/api/slots/slot0/insert", {"url": url, "verify": False}).status == 400
    assert "certificates unchecked" not in d.log()
    assert admin.patch(SLOT, {"VerifyCertificate": False}).status == 204
    assert d.log().count(line) == 1
    assert admin.post(INSERT, {"Image": url}).status == 204
    eject(d)
    assert admin.post("/api/slots/slot0/insert", {"url": url, "verify": False}).status == 200
    assert d.log().count(line) == 2
