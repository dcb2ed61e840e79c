"""Events that are sent to others: what comes there, what is tried again, what is refused, and what is kept."""
import http.server
import json
import queue
import shutil
import ssl
import threading

import pytest

from conftest import wait_for
from redfish_client import (EJECT, INSERT, Client, admin, own, service,
                            users)  # noqa: F401 (admin, own, service, users are fixtures)
from test_redfish_events import EVENTS, SUBSCRIPTIONS, Stream, ids
from test_redfish_slots import restarted

TEST = f"{EVENTS}/Actions/EventService.SubmitTestEvent"


class Listener:
    """A server that takes events: with `answer` it says what it answers."""

    def __init__(self, certificates=None):
        self.came, self.answer, self.headers = queue.Queue(), (204, {}), None
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, fields = outer.answer
                outer.headers = self.headers
                outer.came.put((self.path, json.loads(body)))
                self.send_response(status)
                for name, value in {"Content-Length": "0", **fields}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *what):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificates:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates / "good.pem", certificates / "good.key")
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' if certificates else ''}://127.0.0.1:{self.server.server_port}/events"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def next(self):
        return self.came.get(timeout=20)[1]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def listener(request):
    made = []

    def make(certificates=None):
        made.append(Listener(certificates))
        return made[-1]
    yield make
    for one in made:
        one.stop()


def wanted(listener, **more):
    return {"Destination": listener.url, "Protocol": "Redfish", **more}


def subscribe(client, listener, **more):
    answer = client.post(SUBSCRIPTIONS, wanted(listener, **more))
    assert answer.status == 201 and answer.headers["Location"] == answer.json["@odata.id"], answer.body
    return answer.headers["Location"]


def state(client, place):
    status = client.get(place).json["Status"]
    return status["State"], status["Health"]


@pytest.mark.smoke
def test_events_are_sent(service, admin, nginx, listener, certificates):
    one, other = listener(certificates), listener()
    place = subscribe(admin, one, Context="rack 7", HttpHeaders=[{"Authorization": "Bearer CANARY"}, {"X-From": "bmc"}])
    tasks = subscribe(admin, other, RegistryPrefixes=["TaskEvent", "NbdProxy"], ResourceTypes=["Task"], Context=None)
    assert admin.get(EVENTS).json["Subscriptions"] == {"@odata.id": SUBSCRIPTIONS}
    shown = admin.get(place).json
    assert (shown["Destination"], shown["Context"], shown["HttpHeaders"]) == (one.url, "rack 7", [])
    assert shown["SubscriptionType"] == "RedfishEvent" and shown["DeliveryRetryPolicy"] == "SuspendRetries"
    assert shown["VerifyCertificate"] is True and state(admin, place) == ("Enabled", "OK")
    with Stream(admin) as stream:
        assert admin.post(INSERT, {"Image": nginx.url("image.iso")}, Prefer="respond-async").status == 202
        told = [stream.next()[1] for _ in range(3)]
    came = [one.next() for _ in range(3)]
    assert came == [{**event, "Context": "rack 7"} for event in told]
    assert one.headers["Authorization"] == "Bearer CANARY" and one.headers["X-From"] == "bmc"
    assert one.headers["Content-Type"].startswith("application/json")
    assert [ids(other.next()) for _ in range(2)] == [["TaskEvent.1.0.TaskStarted"], ["TaskEvent.1.0.TaskCompletedOK"]]
    assert admin.post(TEST, {"Message": "x"}).status == 204 # for all, whatever they want
    for listening in (one, other):
        assert ids(listening.next()) == ["ResourceEvent.1.3.TestMessage"]
    for user in ("operator", "reader"):
        client = Client(service, user)
        assert client.get(SUBSCRIPTIONS).json["Members"] == [] and client.get(place).status == client.delete(place).status == 404
        assert client.post(SUBSCRIPTIONS, wanted(one)).status == client.post(TEST, {}).status == 403
    assert admin.delete(place).status == admin.delete(tasks).status == 204
    assert admin.post(EJECT).status == 204
    with Stream(admin) as stream: # an event of later has gone round
        assert stream.comment() == b":\n"
        assert admin.patch(admin.get(SUBSCRIPTIONS).json["Members"][0]["@odata.id"], {"Context": "x"}).status == 405
        assert admin.post(TEST, {}).status == 204 and stream.next()
    assert one.came.empty() and other.came.empty() and "CANARY" not in service.log()


def test_what_does_not_arrive_is_sent_again(own, listener):
    d = own()
    admin, one = Client(d, "admin"), listener()
    assert admin.patch(EVENTS, {"DeliveryRetryAttempts": 2, "DeliveryRetryIntervalSeconds": 1}).status == 200
    place = subscribe(admin, one, DeliveryRetryPolicy="SuspendRetries")
    one.answer = (500, {})
    assert admin.post(TEST, {}).status == 204
    assert one.next()["Id"] == one.next()["Id"]
    wait_for(lambda: state(admin, place) == ("Disabled", "Warning"), "the end of the attempts")
    condition = admin.get(place).json["Status"]["Conditions"][0]
    assert condition["MessageId"] == "NbdProxy.1.0.EventsNotDelivered" and "the answer is 500" in condition["Message"]
    one.answer = (204, {})
    assert admin.post(TEST, {}).status == 204 # while it is suspended: never
    assert admin.post(f"{place}/Actions/EventDestination.ResumeSubscription", {}).status == 204
    assert state(admin, place) == ("Enabled", "OK")
    assert admin.post(TEST, {}).status == 204
    last = one.next()
    with Stream(admin, last="1") as stream:
        numbers = [stream.next()[0] for _ in range(4)]
    assert last["Id"] == numbers[-1]
    # a redirect is not followed
    elsewhere = listener()
    one.answer = (307, {"Location": elsewhere.url})
    assert admin.patch(place, {"DeliveryRetryPolicy": "RetryForever"}).status == 200
    assert admin.post(TEST, {}).status == 204
    wait_for(lambda: "a redirect" in json.dumps(admin.get(place).json["Status"]), "the refusal")
    for _ in range(3):
        one.next()
    assert state(admin, place) == ("Enabled", "Warning") and elsewhere.came.empty()
    one.answer = (200, {})
    wait_for(lambda: state(admin, place) == ("Enabled", "OK"), "the delivery")
    # the last policy
    assert admin.patch(place, {"DeliveryRetryPolicy": "TerminateAfterRetries"}).status == 200
    one.answer = (404, {})
    assert admin.post(TEST, {}).status == 204
    wait_for(lambda: admin.get(place).status == 404, "its end")
    assert admin.get(SUBSCRIPTIONS).json["Members"] == []


def test_a_slow_destination_misses_events_and_is_told(own, listener):
    """Nothing queues up for it: the last 32 are kept."""
    admin, one = Client(own(), "admin"), listener()
    place = subscribe(admin, one)
    assert admin.post(f"{place}/Actions/EventDestination.SuspendSubscription", {}).status == 204
    assert admin.post(TEST, {}).status == 204 and state(admin, place)[0] == "Disabled"
    assert admin.post(f"{place}/Actions/EventDestination.ResumeSubscription", {}).status == 204
    hold = threading.Event()
    put = one.came.put
    one.came.put = lambda item: (put(item), hold.wait(30))
    for _ in range(50):
        assert admin.post(TEST, {}).status == 204
    hold.set()
    first, second = one.next(), one.next()
    assert ids(second) == ["Base.1.18.EventBufferExceeded"] and int(second["Id"]) == int(first["Id"]) + 49 - 32
    assert [int(one.next()["Id"]) for _ in range(32)] == [int(second["Id"]) + n for n in range(1, 33)]


@pytest.mark.parametrize("local", ["no", "yes"])
def test_whom_it_speaks_to(own, listener, certificates, local):
    """Not to the BMC's own services unless that is allowed, and to no server with a certificate that can't be verified."""
    d = own(f"http.allow-local={local}", "http.ca-file=")
    admin, one = Client(d, "admin"), listener(certificates if local == "yes" else None)
    assert admin.patch(EVENTS, {"DeliveryRetryAttempts": 1}).status == 200
    place = subscribe(admin, one)
    assert admin.post(TEST, {}).status == 204
    wait_for(lambda: state(admin, place)[0] == "Disabled", "the refusal")
    said = admin.get(place).json["Status"]["Conditions"][0]["Message"]
    assert ("allow-local" if local == "no" else "certificate") in said and one.came.empty(), said
    if local == "yes":
        assert admin.patch(place, {"VerifyCertificate": False}).status == 200
        assert admin.post(f"{place}/Actions/EventDestination.ResumeSubscription", {}).status == 204
        assert admin.post(TEST, {}).status == 204 and ids(one.next()) == ["ResourceEvent.1.3.TestMessage"]


def test_subscriptions_stay(users, folder, daemon, listener, ca):
    """But for secrets, unless those may be written."""
    shutil.copy(users, folder / "users")
    keys = (f"web.users-file={folder / 'users'}", "web.listen=127.0.0.1:0", ca)
    one, secret = listener(), {"HttpHeaders": [{"Authorization": "CANARY"}]}
    for secrets in ("no", "yes"):
        d = daemon(*keys, f"daemon.state-secrets={secrets}")
        admin = Client(d, "admin")
        kept = [subscribe(admin, one, Context="kept", ResourceTypes=["Task"]), subscribe(admin, one, Context="lost", **secret)]
        assert admin.patch(EVENTS, {"DeliveryRetryAttempts": 7, "DeliveryRetryIntervalSeconds": 8}).status == 200
        file = folder / "event-subscriptions.json"

        def is_written():  # and is not that of the daemon before
            text = file.read_text() if file.exists() else ""
            return '"attempts": 7' in text and '"kept"' in text and ("CANARY" in text or secrets == "no")

        wait_for(is_written, "the file")
        assert ("CANARY" in file.read_text()) == (secrets == "yes") and file.stat().st_mode & 0o777 == 0o600
        d.kill()
        again = restarted(d, *keys)
        try:
            admin = Client(again, "admin")
            members = [m["@odata.id"] for m in admin.get(SUBSCRIPTIONS).json["Members"]]
            assert members == kept[:1 if secrets == "no" else 2]
            assert admin.get(members[0]).json["ResourceTypes"] == ["Task"] and admin.get(EVENTS).json["DeliveryRetryAttempts"] == 7
            for place in members:
                assert admin.post(TEST, {}).status == 204 and {one.next()["Context"] for _ in members} <= {"kept", "lost"}
                assert admin.delete(place).status == 204
                members = members[1:]
            assert again.log().count("damaged") == 0
        finally:
            again.stop()


REFUSED = [
    ({"Destination": "ftp://h/x"}, "Destination"),
    ({"Destination": "https://user:CANARY@h/x"}, "Destination"),
    ({"Destination": "https://h x/"}, "Destination"),
    ({"Destination": "https://" + "h" * 5000}, "Destination"),
    ({"Destination": None}, "Destination"),
    ({"Protocol": "SNMPv3"}, "Protocol"),
    ({"SubscriptionType": "SSE"}, "SubscriptionType"),
    ({"EventFormatType": "MetricReport"}, "EventFormatType"),
    ({"RegistryPrefixes": ["Other"]}, "RegistryPrefixes"),
    ({"RegistryPrefixes": ["Base"] * 17}, "RegistryPrefixes"),
    ({"ResourceTypes": [1]}, "ResourceTypes"),
    ({"EventTypes": "Alert"}, "EventTypes"),
    ({"Context": "x" * 257}, "Context"),
    ({"DeliveryRetryPolicy": "Never"}, "DeliveryRetryPolicy"),
    ({"HttpHeaders": [{"Host": "CANARY"}]}, "HttpHeaders"),
    ({"HttpHeaders": [{"X y": "CANARY"}]}, "HttpHeaders"),
    ({"HttpHeaders": [{"X": "CANARY\r\nY: z"}]}, "HttpHeaders"),
    ({"HttpHeaders": ["CANARY"]}, "HttpHeaders"),
    ({"HttpHeaders": [{f"X{n}": "CANARY"} for n in range(9)]}, "HttpHeaders"),
    ({"HttpHeaders": "CANARY"}, "HttpHeaders"),
]


def test_what_is_refused(service, admin):
    good = {"Destination": "https://127.0.0.1:1/", "Protocol": "Redfish"}
    for change, about in REFUSED:
        body = {name: value for name, value in {**good, **change}.items() if value is not None}
        answer = admin.post(SUBSCRIPTIONS, body)
        assert answer.status == 400 and answer.messages[0]["RelatedProperties"] == [f"#/{about}"], (change, answer.body)
        assert b"CANARY" not in answer.body, change
    places = [admin.post(SUBSCRIPTIONS, good).headers["Location"] for _ in range(8)]
    assert admin.post(SUBSCRIPTIONS, good).ids == ["CreateLimitReachedForResource"]
    for body in ({"Destination": "https://h/"}, {"DeliveryRetryPolicy": "x"}, {"HttpHeaders": [{"Host": "x"}]}, {"Context": 1}):
        assert admin.patch(places[0], body).status == 400
    assert admin.patch(places[0], {"Context": "y"}).json["Context"] == "y"
    for change in ({"DeliveryRetryAttempts": 0}, {"DeliveryRetryAttempts": 101}, {"DeliveryRetryIntervalSeconds": "1"},
                   {"ServiceEnabled": False}):
        assert admin.patch(EVENTS, change).status == 400
    assert Client(service, "operator").patch(EVENTS, {"DeliveryRetryAttempts": 1}).status == 403
    for place in places:
        assert admin.delete(place).status == 204
    assert "CANARY" not in service.log()
