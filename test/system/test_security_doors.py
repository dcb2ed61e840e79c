"""What no client may bring the daemon to do with a URL, whichever way it asks; and nothing is done before it may ask."""
import pytest

from doors import DOORS, IMAGE, eject, insert, server, trap  # noqa: F401 (fixtures)
from redfish_client import ACCOUNTS, EJECT, INSERT, SESSIONS, SLOT, Client, own, users  # noqa: F401 (fixtures)
from test_nbd import handle

SCHEMES = ("cifs data dict file ftp ftps gopher gophers imap imaps javascript ldap ldaps mqtt nbd nfs pop3 pop3s rtmp rtmpe "
           "rtmps rtsp scp sftp smb smbs smtp smtps telnet tftp ws wss FTP Gopher").split()


def is_untouched(daemon, door, trap):
    """That the trap would have told: it is the next that an image is inserted from."""
    assert trap.connections == 0
    assert insert(daemon, door, trap.url()).good and trap.connections == 1


# --- schemes ---


@pytest.mark.parametrize("door", DOORS)
def test_nothing_but_what_is_allowed_is_spoken(own, trap, door):
    d = own("http.protocols=http")
    for scheme in SCHEMES:
        outcome = insert(d, door, f"{scheme}://127.0.0.1:{trap.port}/x.iso")
        assert not outcome.good and outcome.status in (None, 400), (scheme, outcome)
    is_untouched(d, door, trap)


@pytest.mark.parametrize("door", DOORS)
def test_nor_where_a_redirect_leads(own, server, trap, door):
    d = own()
    for scheme in SCHEMES:
        server.behaviour = lambda r: r.answer(302, [("Location", f"{scheme}://127.0.0.1:{trap.port}/x.iso")])
        before = len(server.requests)
        assert not insert(d, door, server.url()).good, scheme
        assert len(server.requests) - before in (1, 2)  # a probe that is answered late has another request beside it
    is_untouched(d, door, trap)


# --- URLs that two readers could understand differently ---

REFUSED = {
    "user and password": "http://user:CANARY@127.0.0.1:{port}/x",
    "user": "http://CANARY@127.0.0.1:{port}/x",
    "password": "http://:CANARY@127.0.0.1:{port}/x",
    "empty user": "http://@127.0.0.1:{port}/x",
    "user that looks like a host": "http://images.example.com:80@127.0.0.1:{port}/x",
    "encoded at": "http://evil.invalid%40127.0.0.1:{port}/x",
    "backslash": "http://127.0.0.1:{port}\\@evil.invalid/x",
    "backslashes": "http:\\\\127.0.0.1:{port}\\x",
    "zero in the host": "http://127.0.0.1%00.evil.invalid:{port}/x",
    "zero": "http://127.0.0.1:{port}/x\0.iso",
    "line end": "http://127.0.0.1:{port}/x\r\nX-Injected: yes",
    "bare line feed": "http://127.0.0.1:{port}/x\nX-Injected: yes",
    "encoded line end in the host": "http://127.0.0.1:{port}%0d%0aX-Injected:%20yes/x",
    "tab": "http://127.0.0.1:{port}/x\ty",
    "tab in the host": "http://127.0.0\t.1:{port}/x",
    "blank": "http://127.0.0.1:{port}/x y",
    "blank in front": " http://127.0.0.1:{port}/x",
    "delete": "http://127.0.0.1:{port}/\x7f",
    "escape": "http://127.0.0.1:{port}/\x1b[31m",
    "too long": "http://127.0.0.1:{port}/" + "x" * 8192,
    "no host": "http:///x",
    "three slashes": "http:///127.0.0.1:{port}/x",
    "one slash": "http:/127.0.0.1:{port}/x",
    "no slash": "http:127.0.0.1:{port}/x",
    "no scheme": "127.0.0.1:{port}/x",
    "no scheme but slashes": "//127.0.0.1:{port}/x",
    "scheme later": "x?http://127.0.0.1:{port}/x",
    "port too large": "http://127.0.0.1:99999/x",
    "port of letters": "http://127.0.0.1:{port}x/x",
    "negative port": "http://127.0.0.1:-{port}/x",
    "open bracket": "http://[::1/x",
    "brackets around a name": "http://[localhost]:{port}/x",
    "letter that looks like another": "http://l\u043ecalhost:{port}/x",
    "bytes that are no text": "http://127.0.0.1%ff:{port}/x",
    "file of another host": "file://127.0.0.1:{port}/x",
    "upload outside": "upload:../../etc/passwd",
}


@pytest.mark.parametrize("door", DOORS)
def test_a_url_that_is_not_plain_is_refused(own, trap, door):
    d = own()
    for what, url in REFUSED.items():
        outcome = insert(d, door, url.format(port=trap.port))
        assert not outcome.good and outcome.status in (None, 400), (what, outcome)
        assert "CANARY" not in outcome.words, (what, outcome)
    is_untouched(d, door, trap)
    assert "CANARY" not in d.log() and "\x1b" not in d.log()


HARMLESS = {
    "host behind the fragment": "http://127.0.0.1:{port}#@127.0.0.1:{trap}/x",
    "host behind the query": "http://127.0.0.1:{port}?@127.0.0.1:{trap}/x",
    "host behind the path": "http://127.0.0.1:{port}/@127.0.0.1:{trap}/x",
    "encoded line end": "http://127.0.0.1:{port}/x%0d%0aX-Injected:%20yes",
    "encoded zero": "http://127.0.0.1:{port}/x%00.iso",
    "dots": "http://127.0.0.1:{port}/../../etc/%2e%2e/passwd",
    "no path": "http://127.0.0.1:{port}",
}


@pytest.mark.parametrize("door", DOORS)
def test_a_url_means_the_host_that_it_begins_with(own, server, trap, door):
    d = own()
    for what, url in HARMLESS.items():
        before = len(server.requests)
        assert insert(d, door, url.format(port=server.port, trap=trap.port)).good, what
        asked = server.requests[before:]
        assert asked and not any("x-injected" in request.headers for request in asked), what
        eject(d)
    is_untouched(d, door, trap)
    assert "\r" not in d.log()


# --- before a client may ---


def test_no_server_is_asked_for_a_client_that_may_not(own, trap):
    d = own()
    here, image = trap.url(), {"Image": trap.url()}
    nobody, reader, wrong = Client(d), Client(d, "reader"), Client(d, "operator", "wrong-password")
    for client, status in ((nobody, 401), (reader, 403), (wrong, 401)):
        assert client.post(INSERT, image).status == status
        assert client.patch(SLOT, image).status == status
        assert client.post("/api/slots/slot0/insert", {"url": here}).status == status
    operator = Client(d, "operator")
    for headers in ({"Origin": "https://evil.example"}, {"X-Auth-Token": "A" * 43}):
        assert operator.post(INSERT, image, **headers).status in (401, 403)
        assert operator.post("/api/slots/slot0/insert", {"url": here}, **headers).status in (401, 403)
    assert operator.patch(SLOT, image, **{"If-Match": '"other"'}).status == 412
    for body in ({**image, "Inserted": False}, {**image, "TransferProtocolType": "NFS"}, {**image, "WriteProtected": "no"},
                 {**image, "Colour": "red"}):
        assert operator.post(INSERT, body).status == 400
    assert operator.patch(SLOT, {**image, "Inserted": False}).status == 400
    assert operator.patch(SLOT, {**image, "VerifyCertificate": False}).status == 403
    assert operator.post("/api/slots/slot0/insert", {"url": here, "verify": False}).status == 400
    is_untouched(d, "InsertMedia", trap)


# --- bodies ---

MALFORMED = [b"{", b"[]", b'{"Image":"a","Image":"b"}', b'{"Image":"\\ud800"}', b'{"Image":"a\\u0000b"}', b"\xef\xbb\xbf{}",
             b'{"Image":1e400}', b"[" * 1000 + b"]" * 1000, b"{} {}"]


def test_every_body_is_read_strictly(own):
    d = own()
    admin, nobody = Client(d, "admin"), Client(d)
    for body in MALFORMED:
        for client, path in ((admin, INSERT), (admin, EJECT), (admin, ACCOUNTS), (nobody, SESSIONS)):
            answer = client.post(path, body)
            assert (answer.status, answer.ids) == (400, ["MalformedJSON"]), (path, body)
        assert admin.patch(f"{ACCOUNTS}/reader", body).ids == ["MalformedJSON"], body


@pytest.mark.parametrize("name,values", [("Image", (1, True, ["x"], {})), ("Inserted", (1, 0, "true", [])),
                                         ("WriteProtected", (1, "yes", {})), ("UserName", (1, False)), ("Password", (1.5, [])),
                                         ("TransferMethod", (0,)), ("TransferProtocolType", (True,))])
def test_a_value_of_the_wrong_type_is_told_as_such(own, name, values):
    client = Client(own(), "operator")
    for value in values:
        body = {"Image": "http://127.0.0.1:1/x", name: value}
        assert client.post(INSERT, body).ids == ["ActionParameterValueTypeError"], value
        assert client.patch(SLOT, body).ids == ["PropertyValueTypeError"], value


# --- write protection ---


def test_a_protected_medium_takes_no_write(own, server):
    d = own()
    client = Client(d, "operator")
    for index in (0, 1):
        assert client.post(INSERT.replace("Slot_0", f"Slot_{index}"), {"Image": server.url()}).status == 204
        assert client.slot(index)["WriteProtected"] is True
        h = handle(d.uri(f"slot{index}"))
        h.set_strict_mode(0)  # the client must not be the one that refuses
        before = len(server.requests)
        for write in (lambda: h.pwrite(b"x" * 4096, 0), lambda: h.trim(4096, 0), lambda: h.zero(4096, 0),
                      lambda: h.pwrite(b"x", len(IMAGE) - 1)):
            with pytest.raises(Exception) as caught:
                write()
            assert caught.value.errno == "EPERM"
        assert len(server.requests) == before
        assert h.pread(4096, 0) == IMAGE[:4096]
        h.shutdown()
    assert {r.method for r in server.requests} == {"GET"}
