"""The EventService and its streams, the registries of messages, and the answers given before a request is one."""
import http.client
import json
import re
import socket
import ssl
import time

import nbd
import pytest

from conftest import SANITIZED, wait_for
from redfish_client import (ACCOUNTS, EJECT, INSERT, MEDIA, PASSWORDS, SESSIONS, SLOT, Client, admin, own, port_of, service,
                            users)  # noqa: F401 (admin, own, service, users are fixtures)

EVENTS = "/redfish/v1/EventService"
STREAM = f"{EVENTS}/SSE"
SUBSCRIPTIONS = f"{EVENTS}/Subscriptions"
REGISTRIES = "/redfish/v1/Registries"


class Stream:
    """An open stream of events, read with a time limit."""

    def __init__(self, client, last=None, user_agent=None):
        self.connection = http.client.HTTPSConnection("127.0.0.1", client.port, timeout=20,
                                                      context=ssl._create_unverified_context())
        fields = {**client.always, "Accept": "text/event-stream"}
        if last is not None:
            fields["Last-Event-ID"] = last
        self.connection.request("GET", STREAM, headers=fields)
        self.answer = self.connection.getresponse()

    def next(self):
        """(id, event); None at the end. Comments are passed over."""
        identity, data = None, None
        while line := self.answer.readline():
            line = line.decode().rstrip("\n")
            if line.startswith("id: "):
                identity = line[4:]
            elif line.startswith("data: "):
                data = json.loads(line[6:])
            elif not line and data:
                return identity, data
        return None

    def comment(self):
        return self.answer.readline()

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.close()


def ids(event):
    return [record["MessageId"] for record in event["Events"]]


# --- what happens is told ---


@pytest.mark.smoke
def test_an_insert_and_an_eject(service, admin, nginx):
    client = Client(service, "reader")
    with Stream(client) as stream:
        assert stream.answer.status == 200 and stream.answer.headers["Content-Type"] == "text/event-stream"
        assert stream.answer.headers["OData-Version"] == "4.0"
        assert admin.post(INSERT, {"Image": nginx.url("image.iso?signature=CANARY")}).status == 204
        number, event = stream.next()
        assert event["@odata.type"] == "#Event.v1_7_0.Event" and event["Id"] == number and event["Events@odata.count"] == 2
        first, second = event["Events"]
        assert first["MessageId"] == "NbdProxy.1.0.MediaInserted" and first["MessageArgs"] == ["image.iso", "slot0"]
        assert first["Message"] == "image.iso was inserted into slot0." and first["MessageSeverity"] == "OK"
        assert first["EventType"] == "Alert" and second["EventType"] == "ResourceUpdated"
        assert second["MessageId"] == "ResourceEvent.1.3.ResourceChanged"
        for n, record in enumerate((first, second)):
            assert record["OriginOfCondition"] == {"@odata.id": SLOT}
            assert record["MemberId"] == str(n) and record["EventId"] == f"{number}.{n}"
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record["EventTimestamp"])
        assert "CANARY" not in json.dumps(event)
        assert admin.post(EJECT).status == 204
        after, event = stream.next()
        assert int(after) == int(number) + 1 and ids(event)[0] == "NbdProxy.1.0.MediaEjected"
        other = INSERT.replace("Slot_0", "Slot_1")
        assert admin.post(other, {"Image": nginx.url("nothing.iso")}).status == 400
        _, event = stream.next()
        assert ids(event)[0] == "NbdProxy.1.0.MediaFailed" and "404 Not Found" in event["Events"][0]["Message"]
        assert event["Events"][0]["OriginOfCondition"] == {"@odata.id": f"{MEDIA}/Slot_1"}
        assert event["Events"][0]["MessageSeverity"] == "Warning"
        assert admin.post(INSERT, {"Image": "nonsense"}).status == 400 # refused before anything was opened
        assert ids(stream.next()[1])[0] == "NbdProxy.1.0.MediaFailed"


def test_a_server_that_goes_and_comes_back(own, own_nginx):
    d = own("http.connect-timeout=1s", "http.stall-timeout=1s")
    client = Client(d, "operator")
    assert client.post(INSERT, {"Image": own_nginx.url("image.iso")}).status == 204
    with Stream(client) as stream:
        assert stream.comment() == b":\n"
        own_nginx.stop()
        h = nbd.NBD()
        h.connect_uri(d.uri())
        h.aio_pread(nbd.Buffer(1 << 16), 4 << 20)
        event = stream.next()[1]
        assert ids(event)[0] == "NbdProxy.1.0.MediaUnreadable" and event["Events"][0]["MessageSeverity"] == "Critical"
        own_nginx.start()
        assert ids(stream.next()[1])[0] == "NbdProxy.1.0.MediaReadable"


def test_who_comes_back_misses_nothing(own, nginx):
    client = Client(own(), "operator")
    with Stream(client) as stream:
        assert client.post(INSERT, {"Image": nginx.url("image.iso")}).status == 204
        seen, _ = stream.next()
    assert client.post(EJECT).status == 204
    assert client.post(INSERT, {"Image": nginx.url("other.iso")}).status == 204
    with Stream(client, last=seen) as stream:
        assert [ids(stream.next()[1])[0] for _ in range(2)] == ["NbdProxy.1.0.MediaEjected", "NbdProxy.1.0.MediaInserted"]
        assert client.post(EJECT).status == 204
        newest, event = stream.next()
        assert ids(event)[0] == "NbdProxy.1.0.MediaEjected"
    for strange in ("x", "-1", str(int(newest) + 1000), "99999999999999999999999"): # nothing is known of it: from now on
        with Stream(client, last=strange) as stream:
            assert stream.comment() == b":\n"
            assert client.post(INSERT, {"Image": nginx.url("image.iso")}).status == 204
            assert ids(stream.next()[1])[0] == "NbdProxy.1.0.MediaInserted"
            assert client.post(EJECT).status == 204
    with Stream(client, last="1") as stream: # of a former life
        number, event = stream.next()
        assert ids(event) == ["Base.1.18.EventBufferExceeded"] and ids(stream.next()[1])[0] == "NbdProxy.1.0.MediaInserted"


def test_the_last_events_are_kept_and_no_more(own):
    client = Client(own(), "operator")
    with Stream(client) as stream:
        for _ in range(50):
            assert client.post(INSERT, {"Image": "nonsense"}).status == 400
        first, _ = stream.next()
        numbers = [int(first)] + [int(stream.next()[0]) for _ in range(49)]
        assert numbers == list(range(int(first), int(first) + 50))
    with Stream(client, last=first) as stream:
        number, event = stream.next()
        assert ids(event) == ["Base.1.18.EventBufferExceeded"] and int(number) == int(first) + 49 - 32
        assert [int(stream.next()[0]) for _ in range(32)] == numbers[-32:]


# --- a stream's end ---


def log_in(daemon, user):
    answer = Client(daemon).post(SESSIONS, {"UserName": user, "Password": PASSWORDS[user]})
    return Client(daemon, token=answer.headers["X-Auth-Token"]), answer.headers["Location"]


def test_it_ends_with_its_session(service, admin):
    client, place = log_in(service, "operator")
    with Stream(client) as stream:
        assert admin.delete(place).status == 204
        assert stream.next() is None
    assert admin.get(SUBSCRIPTIONS).json["Members"] == []


@pytest.mark.parametrize("change", [{"RoleId": "ReadOnly"}, {"Enabled": False}, None], ids=["role", "disabled", "gone"])
def test_it_ends_with_its_account(own, change):
    d = own()
    admin = Client(d, "admin")
    with Stream(Client(d, "operator")) as stream: # by password: there is no session
        assert stream.comment() == b":\n"
        if change:
            assert admin.patch(f"{ACCOUNTS}/operator", change).status == 200
        else:
            assert admin.delete(f"{ACCOUNTS}/operator").status == 204
        assert stream.next() is None


def test_it_ends_with_the_daemon(own):
    d = own()
    with Stream(Client(d, "operator")) as stream:
        assert stream.comment() == b":\n"
        d.stop()
        try:
            assert stream.next() is None
        except OSError:
            pass


def test_streams_are_counted(own):
    d = own("web.web-connections=64")
    operator, reader, admin = (Client(d, user) for user in ("operator", "reader", "admin"))
    streams = [Stream(operator) for _ in range(8)]
    assert all(s.comment() == b":\n" for s in streams)
    full = reader.get(STREAM)
    assert (full.status, full.ids, full.headers["Retry-After"]) == (503, ["EventSubscriptionLimitExceeded"], "10")
    assert reader.send("HEAD", STREAM).status == 503
    assert reader.get(SUBSCRIPTIONS).json["Members"] == []
    members = [m["@odata.id"] for m in admin.get(SUBSCRIPTIONS).json["Members"]]
    assert len(members) == 8 and members == [m["@odata.id"] for m in operator.get(SUBSCRIPTIONS).json["Members"]]
    shown = operator.get(members[0]).json
    assert shown["SubscriptionType"] == "SSE" and shown["Protocol"] == "Redfish" and shown["Context"] is None
    assert reader.get(members[0]).status == 404 and reader.delete(members[0]).status == 404
    assert operator.delete(members[0]).status == 204 and streams[0].next() is None
    assert admin.delete(members[1]).status == 204 and streams[1].next() is None
    assert operator.get(members[0]).status == 404
    streams[2].close()
    wait_for(lambda: len(operator.get(SUBSCRIPTIONS).json["Members"]) == 5, "the one that left")
    with Stream(reader) as stream:
        assert stream.comment() == b":\n"
    for stream in streams:
        stream.close()


@pytest.mark.plain
def test_one_that_does_not_read_is_left_behind(own):
    """Nothing queues up for it, others get theirs, and it is told what it missed when it reads again."""
    d = own()
    client = Client(d, "operator")
    lazy = socket.socket()
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lazy.settimeout(20)
    lazy.connect(("127.0.0.1", client.port))
    with ssl._create_unverified_context().wrap_socket(lazy) as tls:
        tls.sendall(f"GET {STREAM} HTTP/1.1\r\nHost: x\r\nAuthorization: {client.always['Authorization']}\r\n\r\n".encode())
        wait_for(lambda: client.get(SUBSCRIPTIONS).json["Members"], "the stream")
        d.reset_rss()
        before = d.rss()
        for _ in range(10):
            assert len(d.ask(*["insert slot0 x" + "y" * 150] * 1000)) == 1000
        if not SANITIZED:
            assert d.rss() - before < 6 << 20 # all events together are more
        with Stream(client) as stream:
            assert client.post(INSERT, {"Image": "nonsense"}).status == 400
            assert ids(stream.next()[1])[0] == "NbdProxy.1.0.MediaFailed"
        data = b""
        while b"EventBufferExceeded" not in data:
            data = data[-100:] + tls.recv(1 << 16)


# --- the service ---


def test_the_service(admin):
    service = admin.get(EVENTS).json
    assert service["ServerSentEventUri"] == STREAM and service["Subscriptions"] == {"@odata.id": SUBSCRIPTIONS}
    assert not any(service["SSEFilterPropertiesSupported"].values()) and service["ServiceEnabled"] is True
    assert admin.send("HEAD", STREAM).status == 200 and admin.post(STREAM, {}).status == 405


# --- registries ---


def test_registries(admin):
    members = [m["@odata.id"] for m in admin.get(REGISTRIES).json["Members"]]
    files = {m.rpartition("/")[2]: admin.get(m).json for m in members}
    assert set(files) == {"Base", "NbdProxy", "ResourceEvent", "TaskEvent"}
    for name, file in files.items():
        assert re.fullmatch(rf"{name}\.\d+\.\d+", file["Registry"]) and file["Languages"] == ["en"]
        place = file["Location"][0]
        if name != "NbdProxy":
            assert re.fullmatch(rf"https://redfish\.dmtf\.org/registries/{re.escape(file['Registry'])}\.\d+\.json", place["PublicationUri"])
    assert files["NbdProxy"]["Location"][0]["Uri"] == f"{REGISTRIES}/NbdProxy/NbdProxy"
    assert admin.get(REGISTRIES + "/Other").status == 404


def test_our_own_registry_has_every_message(service, admin, nginx):
    registry = admin.get(f"{REGISTRIES}/NbdProxy/NbdProxy").json
    assert registry["@odata.type"] == "#MessageRegistry.v1_6_0.MessageRegistry" and registry["RegistryPrefix"] == "NbdProxy"
    assert registry["RegistryVersion"] == "1.0.0" and registry["OwningEntity"] == "nbd-proxy" and registry["Language"] == "en"
    for key, message in registry["Messages"].items():
        assert re.fullmatch("[A-Z][A-Za-z]+", key)
        arguments = set(re.findall(r"%(\d)", message["Message"]))
        assert arguments == {str(n + 1) for n in range(message["NumberOfArgs"])} and len(message["ParamTypes"]) == len(arguments)
        assert message["MessageSeverity"] == message["Severity"] and message["Severity"] in ("OK", "Warning", "Critical")
        assert message["Description"].endswith(".") and message["Resolution"].endswith(".")
    answer = admin.post(INSERT, {"Image": nginx.url("nothing.iso")})
    said = answer.messages[0]
    entry = registry["Messages"][said["MessageId"].rpartition(".")[2]]
    text = entry["Message"]
    for n, argument in enumerate(said["MessageArgs"]):
        text = text.replace(f"%{n + 1}", argument)
    assert said["Message"] == text and len(said["MessageArgs"]) == entry["NumberOfArgs"]
    assert (said["Resolution"], said["MessageSeverity"]) == (entry["Resolution"], entry["MessageSeverity"])


def test_schemas_are_where_dmtf_has_them(admin):
    for member in admin.get("/redfish/v1/JsonSchemas").json["Members"]:
        file = admin.get(member["@odata.id"]).json
        space = member["@odata.id"].rpartition("/")[2]
        assert file["Schema"] == f"#{space}.{space.partition('.')[0]}"
        assert file["Location"] == [{"Language": "en", "PublicationUri": f"http://redfish.dmtf.org/schemas/v1/{space}.json"}]


# --- before a request is one ---


def raw(service, data, wait=False):
    """The answer to these bytes: status, head, body."""
    plain = socket.create_connection(("127.0.0.1", port_of(service)), timeout=30)
    with ssl._create_unverified_context().wrap_socket(plain) as s:
        try:
            s.sendall(data)
        except OSError:
            pass
        answer = b""
        try:
            while part := s.recv(65536):
                answer += part
                head, end, body = answer.partition(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                if end and length and len(body) >= int(length[1]):
                    break
        except OSError:
            pass
    return int(head.split()[1]), head.decode(), body


LONG = b"x" * 9000
REFUSED = {
    "an unknown method": (b"FAKEMETHODFORTEST /redfish/v1 HTTP/1.1\r\nHost: x\r\n\r\n", 501, "Base.1.18.OperationNotAllowed"),
    "two lengths": (b"POST /redfish/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400,
                    "NbdProxy.1.0.HttpRefused"),
    "no host": (b"GET /redfish/v1/ HTTP/1.1\r\n\r\n", 400, "NbdProxy.1.0.HttpRefused"),
    "a long field": (b"GET /redfish HTTP/1.1\r\nHost: x\r\nX: " + LONG + b"\r\n\r\n", 431, "NbdProxy.1.0.HttpRefused"),
    "many fields": (b"GET /redfish/v1?a=b HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 70 + b"\r\n", 431, "NbdProxy.1.0.HttpRefused"),
    "an expectation": (b"PATCH /redfish/v1 HTTP/1.1\r\nHost: x\r\nExpect: more\r\n\r\n", 417, "NbdProxy.1.0.HttpRefused"),
    "another version": (b"GET /redfish/v1 HTTP/2.0\r\nHost: x\r\n\r\n", 505, "NbdProxy.1.0.HttpRefused"),
    "a path that climbs": (b"GET /redfish/../etc HTTP/1.1\r\nHost: x\r\n\r\n", 400, "NbdProxy.1.0.HttpRefused"),
}
PLAIN = {
    "a path elsewhere": (b"FAKEMETHODFORTEST /redfishes HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    "the page": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "a long path": (b"GET /" + LONG + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "no path": (b"GET\r\nHost: /redfish/ x\r\n\r\n", 400),
    "nothing of HTTP": (b"\x16\x03\x01 /redfish/v1 \r\n\r\n", 400),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refusals_below_the_service_are_redfish(service, what):
    data, status, code = REFUSED[what]
    got, head, body = raw(service, data)
    error = json.loads(body)["error"]
    assert (got, error["code"]) == (status, code)
    assert error["@Message.ExtendedInfo"][0]["MessageId"] == code and error["message"]
    assert re.search("(?m)^OData-Version: 4.0\r?$", head) and re.search("(?m)^Cache-Control: no-cache\r?$", head)
    assert re.search("(?m)^Content-Type: application/json;charset=utf-8\r?$", head)
    assert code.startswith("Base") or f"{status} " in error["message"]


@pytest.mark.parametrize("what", PLAIN)
def test_other_refusals_are_not(service, what):
    data, status = PLAIN[what]
    got, head, body = raw(service, data)
    assert got == status and "text/plain" in head and "OData" not in head


def test_bodies_that_are_too_long(service, admin):
    for answer in (admin.patch(SLOT, {"Image": "x" * (64 << 10)}),
                   Client(service).post(SESSIONS, {"UserName": "x" * 5000, "Password": "x"}),
                   admin.send("PATCH", SLOT, b"x" * 300, {"Content-Length": "99999999999999999999"})):
        assert (answer.status, answer.ids) == (413, ["PayloadTooLarge"])
        assert answer.headers["OData-Version"] == "4.0"


def test_every_answer_has_its_version(service, admin):
    nobody = Client(service)
    answers = [nobody.get(SLOT), nobody.get("/redfish"), admin.get("/redfish/v2"), admin.send("PUT", SLOT), admin.post(EJECT),
               admin.get(SLOT, **{"If-None-Match": "*"}), admin.get("/redfish/v1/$metadata"), admin.send("HEAD", SLOT),
               admin.patch(SLOT, "{"), admin.send("HEAD", STREAM), admin.get("/redfish/v1/?$x"), admin.patch(SLOT, {}, Origin="https://evil.example"),
               nobody.post(SESSIONS, {}), admin.get(f"{REGISTRIES}/NbdProxy/NbdProxy")]
    for answer in answers:
        assert answer.headers["OData-Version"] == "4.0" and answer.headers["Cache-Control"] in ("no-cache", "no-store, no-transform"), answer.body
