"""What a VirtualMedia has beside its image: certificates, a policy of ejection, conditions; and media from a browser."""
import calendar
import concurrent.futures
import http.server
import json
import pathlib
import re
import shutil
import subprocess
import threading
import time

import nbd
import pytest

from browser import Browser, Image
from conftest import Daemon, wait_for
from redfish_client import (ACCOUNTS, EJECT, INSERT, MEDIA, PASSWORDS, SESSIONS, SLOT, Client, admin, own, port_of, service,
                            users)  # noqa: F401 (admin, own, service, users are fixtures)
from test_host import CAN, Hook
from test_redfish_events import Stream, ids
from website import Web, accounts, new_site  # noqa: F401 (the last two are fixtures)

CERTIFICATES = f"{SLOT}/Certificates"


def log_in(daemon, user):
    answer = Client(daemon).post(SESSIONS, {"UserName": user, "Password": PASSWORDS[user]})
    assert answer.status == 201
    return Client(daemon, token=answer.headers["X-Auth-Token"]), answer.headers["Location"]


def restarted(killed, *arguments):
    """Another daemon in the place of one that was killed."""
    for socket in killed.folder.glob("*.sock"):
        socket.unlink()
    return Daemon(killed.folder, *arguments)


def is_empty(client):
    return not client.slot()["Inserted"] and client.slot()["Image"] is None


# --- certificates ---


@pytest.fixture
def trusting(users, folder, daemon):
    """A daemon that trusts the system's authorities only, so that no server of the tests is trusted."""
    def start(*more):
        shutil.copy(users, folder / "users")
        return daemon(f"web.users-file={folder / 'users'}", "web.listen=127.0.0.1:0", *more)
    return start


def pem(certificates, name):
    return pathlib.Path(certificates, f"{name}.pem").read_text()


def certificate(text):
    return {"CertificateString": text, "CertificateType": "PEM"}


@pytest.mark.smoke
@pytest.mark.parametrize("which", ["ca", "good"], ids=["who signed it", "its own"])
def test_a_certificate_is_trusted_from_its_coming_to_its_going(trusting, nginx, certificates, which):
    d = trusting()
    admin, operator = Client(d, "admin"), Client(d, "operator")
    assert admin.slot()["Certificates"] == {"@odata.id": CERTIFICATES}
    assert admin.get(CERTIFICATES).json["Members"] == []
    url = nginx.url("image.iso", host="localhost")
    assert operator.post(INSERT, {"Image": url}).ids == ["ImageServerNotTrusted"]
    made = admin.post(CERTIFICATES, certificate(pem(certificates, which)))
    place = made.headers["Location"]
    assert made.status == 201 and place == f"{CERTIFICATES}/1" and made.json["@odata.id"] == place
    assert admin.get(CERTIFICATES).json["Members"] == [{"@odata.id": place}]
    assert operator.post(INSERT, {"Image": url}).status == 204
    h = nbd.NBD()
    h.connect_uri(d.uri())
    h.pread(1 << 20, 0) # many connections, and all trust it
    h.shutdown()
    other = INSERT.replace("Slot_0", "Slot_1")
    assert operator.post(other, {"Image": url}).ids == ["ImageServerNotTrusted"] # it is this slot's
    assert operator.post(EJECT).status == 204
    assert operator.post(INSERT, {"Image": nginx.url("image.iso", "wrong")}).status == 400 # names are checked all the same
    assert admin.delete(place).status == 204 and admin.get(place).status == 404
    assert operator.post(INSERT, {"Image": url}).ids == ["ImageServerNotTrusted"]


def test_what_a_certificate_shows(service, admin, certificates):
    text = pem(certificates, "good")
    made = admin.post(CERTIFICATES + "/Members", certificate(text))
    shown = admin.get(made.headers["Location"]).json
    try:
        assert {k: v for k, v in shown.items() if k != "@odata.etag"} == made.json
        assert shown["CertificateType"] == "PEM" and shown["CertificateString"] == text
        assert shown["Subject"] == {"CommonName": "good"} and shown["Issuer"] == {"CommonName": "test CA"}
        asked = subprocess.run(["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-serial"], input=text, text=True,
                               capture_output=True, check=True).stdout
        assert shown["Fingerprint"] in asked and shown["FingerprintHashAlgorithm"] == "TPM_ALG_SHA256"
        assert shown["SerialNumber"].replace(":", "") in asked
        assert shown["ValidNotBefore"] == "2020-01-01T00:00:00Z"
        assert Client(service, "reader").get(made.headers["Location"]).status == 200
    finally:
        assert admin.delete(made.headers["Location"]).status == 204


def test_what_is_no_certificate(admin, certificates):
    good, key = pem(certificates, "good"), pathlib.Path(certificates, "good.key").read_text()
    lines = good.splitlines()
    for text in ("", "x", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", good[:-40], good + good, key + good, good + key, key,
                 "\n".join(lines[:3] + lines[4:]), good.replace("CERTIFICATE", "CERTIFICATE REQUEST"), good + " " * 20000,
                 good.replace("-----BEGIN", "----BEGIN"), "\u00e4" * 100):
        answer = admin.post(CERTIFICATES, certificate(text))
        wanted = "CertificateNotUsable" if text else "PropertyMissing"
        assert (answer.status, answer.ids) == (400, [wanted]), text[:100]
        assert answer.messages[0]["RelatedProperties"] == ["#/CertificateString"]
        assert "PRIVATE" not in answer.body.decode()
    for body, wanted in (({"CertificateString": good}, "PropertyMissing"), ({"CertificateType": "PEM"}, "PropertyMissing"),
                         ({**certificate(good), "CertificateType": "PKCS7"}, "PropertyValueNotInList"),
                         ({**certificate(good), "CertificateType": 1}, "PropertyValueTypeError"),
                         ({**certificate(good), "Colour": 1}, "PropertyUnknown"), ({}, "PropertyMissing")):
        answer = admin.post(CERTIFICATES, body)
        assert (answer.status, answer.ids) == (400, [wanted]), body
    assert admin.get(CERTIFICATES).json["Members"] == []
    for path in (CERTIFICATES + "/1", CERTIFICATES + "/01", CERTIFICATES + "/x", CERTIFICATES.replace("Slot_0", "Slot_9")):
        assert admin.get(path).status == 404, path
    assert admin.delete(CERTIFICATES + "/1").status == 404
    assert admin.post(CERTIFICATES.replace("Slot_0", "Slot_9"), certificate(good)).status == 404


def test_a_slot_has_room_for_eight(own, tmp_path):
    admin = Client(own(), "admin")
    for n in range(9):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                        "-subj", f"/CN=n{n}", "-keyout", "/dev/null", "-out", str(tmp_path / f"{n}.pem")], check=True,
                       capture_output=True)
    answers = [admin.post(CERTIFICATES, certificate(pem(tmp_path, n))) for n in range(9)]
    assert [a.status for a in answers] == [201] * 8 + [400] and answers[8].ids == ["CreateLimitReachedForResource"]
    again = admin.post(CERTIFICATES, certificate(pem(tmp_path, 3)))
    assert (again.status, again.ids) == (409, ["ResourceAlreadyExists"])
    assert admin.delete(CERTIFICATES + "/4").status == 204
    assert admin.post(CERTIFICATES, certificate(pem(tmp_path, 8))).headers["Location"] == CERTIFICATES + "/9"
    etag = admin.get(CERTIFICATES + "/9").headers["ETag"]
    assert admin.delete(CERTIFICATES + "/9", **{"If-Match": '"x"'}).status == 412
    assert admin.delete(CERTIFICATES + "/9", **{"If-Match": etag}).status == 204


def test_certificates_stay(trusting, folder, nginx, certificates):
    """Over a restart, and with them the medium that they let in."""
    d = trusting()
    admin = Client(d, "admin")
    url = nginx.url("image.iso", host="localhost")
    assert admin.post(CERTIFICATES, certificate(pem(certificates, "ca"))).status == 201
    assert admin.post(INSERT, {"Image": url}).status == 204
    kept = folder / "slot-certificates.json"
    wait_for(kept.exists, "the certificates' file")
    assert kept.stat().st_mode & 0o777 == 0o600 and b"PRIVATE" not in kept.read_bytes()
    d.kill()
    again = restarted(d, f"web.users-file={folder / 'users'}", "web.listen=127.0.0.1:0")
    try:
        wait_for(lambda: again.slot()["state"] == "ready", "the medium of before")
        admin = Client(again, "admin")
        assert len(admin.get(CERTIFICATES).json["Members"]) == 1 and admin.slot()["Image"] == url
        assert admin.post(EJECT).status == 204 and admin.post(INSERT, {"Image": url}).status == 204
        assert admin.delete(CERTIFICATES + "/1").status == 204
        wait_for(lambda: json.loads(kept.read_text())["certificates"] == [], "the file to follow")
    finally:
        again.stop()


def test_a_damaged_file_of_certificates_costs_only_what_is_damaged(trusting, folder, certificates):
    good = pem(certificates, "ca")
    entries = [{"slot": "slot0", "id": 3, "certificate": good}, {"slot": "slot0", "id": 4, "certificate": "x"}, {"slot": "slot0"}, 7,
               {"slot": "slot0", "id": 0, "certificate": good}, {"slot": "x" * 99, "id": 1, "certificate": good}]
    (folder / "slot-certificates.json").write_text(json.dumps({"version": 1, "certificates": entries}))
    d = trusting()
    assert Client(d, "admin").get(CERTIFICATES).json["Members"] == [{"@odata.id": CERTIFICATES + "/3"}]
    assert d.log().count("a certificate is left out") == 5
    d.stop()
    (folder / "slot-certificates.json").write_text("{")
    assert Client(trusting(), "admin").get(CERTIFICATES).json["Members"] == []


def test_the_page_trusts_them_too(trusting, nginx, certificates):
    d = trusting()
    admin = Client(d, "admin")
    url = {"url": nginx.url("image.iso", host="localhost")}
    assert admin.post("/api/slots/slot0/insert", url).status == 502
    assert admin.post(CERTIFICATES, certificate(pem(certificates, "ca"))).status == 201
    assert admin.post("/api/slots/slot0/insert", url).status == 200


# --- EjectPolicy ---


def test_a_medium_of_a_time(service, admin, nginx):
    client = Client(service, "operator")
    body = {"Image": nginx.url("image.iso"), "EjectPolicy": "Timed", "EjectTimeout": "PT1.5S"}
    began = time.monotonic()
    assert client.post(INSERT, body).status == 204
    slot = client.slot()
    assert (slot["EjectPolicy"], slot["EjectTimeout"]) == ("Timed", "PT1.500S")
    wait_for(lambda: is_empty(client), "the eject", 10)
    assert 1.4 < time.monotonic() - began < 6
    assert (client.slot()["EjectPolicy"], client.slot()["EjectTimeout"]) == ("Persistent", None) # it was that medium's
    assert client.slot()["Status"]["Health"] == "OK"
    assert "was to stay for" in service.log()
    assert client.post(INSERT, {**body, "EjectTimeout": "PT1H"}).status == 204
    assert client.post(INSERT, {**body, "EjectTimeout": "PT1H"}).status == 204 # twice is once
    assert client.post(INSERT, {**body, "EjectTimeout": "PT2H"}).ids == ["ResourceInUse"]
    assert client.post(INSERT, {**body, "EjectPolicy": "Persistent", "EjectTimeout": None}).ids == ["ResourceInUse"]
    assert client.patch(SLOT, {"EjectTimeout": "PT1S"}).status == 204
    wait_for(lambda: is_empty(client), "the eject", 10)
    assert client.patch(SLOT, {"EjectPolicy": None}).status == 204


def test_a_time_that_is_taken_back(service, admin, nginx):
    client = Client(service, "operator")
    assert client.post(INSERT, {"Image": nginx.url("image.iso"), "EjectPolicy": "Timed", "EjectTimeout": "PT1S"}).status == 204
    assert client.patch(SLOT, {"EjectPolicy": "Persistent"}).status == 204
    time.sleep(1.5)  # the time would be over
    assert client.slot()["Inserted"] and client.slot()["EjectPolicy"] == "Persistent"
    assert client.patch(SLOT, {"EjectPolicy": None}).status == 204


def test_a_medium_of_a_session(service, admin, nginx):
    client, place = log_in(service, "operator")
    body = {"Image": nginx.url("image.iso"), "EjectPolicy": "Session"}
    assert client.post(INSERT, body).status == 204
    assert admin.slot()["EjectPolicy"] == "Session" and admin.slot()["EjectTimeout"] is None
    other, other_place = log_in(service, "operator")
    assert other.delete(other_place).status == 204 # another one's end is nothing to it
    time.sleep(0.3)  # nothing happens
    assert admin.slot()["Inserted"]
    assert client.delete(place).status == 204
    wait_for(lambda: is_empty(admin), "the eject", 5)
    assert "the session of operator has ended" in service.log()
    # a medium that comes after it is not bound
    client, place = log_in(service, "operator")
    assert client.post(INSERT, body).status == 204 and client.post(EJECT).status == 204
    assert admin.post(INSERT, {"Image": nginx.url("image.iso")}).status == 204
    assert client.delete(place).status == 204
    time.sleep(0.3)  # nothing happens
    assert admin.slot()["Inserted"] and admin.slot()["EjectPolicy"] == "Persistent"


def test_an_image_in_place_of_another_has_its_policy(service, admin, nginx):
    """A PATCH leaves what it does not name, and what it names holds: also for the same image, and with whose session it goes."""
    first, second = nginx.url("image.iso"), nginx.url("other.iso")

    def policy():
        slot = admin.slot()
        return slot["ImageName"], slot["EjectPolicy"], slot["EjectTimeout"]

    client, place = log_in(service, "operator")
    other, other_place = log_in(service, "operator")
    assert client.post(INSERT, {"Image": first, "EjectPolicy": "Session"}).status == 204
    assert admin.patch(SLOT, {"Image": second}).status == 204 and policy() == ("other.iso", "Session", None)
    assert other.delete(other_place).status == 204
    time.sleep(0.3)  # nothing happens: it is still the first one's
    assert admin.patch(SLOT, {"Image": second, "EjectPolicy": "Persistent"}).status == 204
    assert policy() == ("other.iso", "Persistent", None)
    assert admin.patch(SLOT, {"Image": first, "EjectPolicy": "Session"}).ids == ["PropertyValueConflict"]  # whose?
    for image, name in ((second, "other.iso"), (first, "image.iso")):
        assert client.patch(SLOT, {"Image": image, "EjectPolicy": "Session"}).status == 204
        assert policy() == (name, "Session", None)
    assert admin.patch(SLOT, {"Image": first, "EjectPolicy": "Timed", "EjectTimeout": "PT1H"}).status == 204
    assert client.delete(place).status == 204
    time.sleep(0.3)  # nothing happens: it was set free
    assert policy() == ("image.iso", "Timed", "PT1H")
    client, place = log_in(service, "operator")
    assert admin.patch(SLOT, {"Image": second}).status == 204 and policy() == ("other.iso", "Timed", "PT1H")
    assert client.patch(SLOT, {"Image": first, "EjectPolicy": "Session"}).status == 204
    assert client.delete(place).status == 204
    wait_for(lambda: is_empty(admin), "the eject", 5)
    # the session ends while the image is opened
    assert admin.post(INSERT, {"Image": first}).status == 204
    client, place = log_in(service, "operator")
    server = Held()
    assert client.patch(SLOT, {"Image": server.url("late.iso"), "EjectPolicy": "Session"}, Prefer="respond-async").status == 202
    assert client.delete(place).status == 204 and policy() == ("image.iso", "Persistent", None)
    server.let.set()
    wait_for(lambda: "the session of the medium has ended meanwhile" in service.log() and is_empty(admin), "the eject", 10)
    server.shutdown()
    # of what is refused nothing is done
    assert admin.patch(SLOT, {"EjectPolicy": "Timed", "EjectTimeout": "PT1H", "Inserted": True}).ids == ["PropertyMissing"]
    assert admin.patch(SLOT, {"VerifyCertificate": False, "Image": first, "TransferProtocolType": "NFS"}).status == 400
    assert policy() == (None, "Persistent", None) and admin.slot()["VerifyCertificate"]


def test_a_session_of_an_account_that_goes(own, nginx):
    d = own()
    admin = Client(d, "admin")
    client, _ = log_in(d, "operator")
    assert client.post(INSERT, {"Image": nginx.url("image.iso"), "EjectPolicy": "Session"}).status == 204
    assert admin.patch(f"{ACCOUNTS}/operator", {"Enabled": False}).status == 200
    wait_for(lambda: is_empty(admin), "the eject", 5)


def test_an_idle_session_is_not_kept_by_its_medium(own, nginx):
    d = own("web.session-idle=10s")
    admin = Client(d, "admin")
    client, place = log_in(d, "operator")
    assert client.post(INSERT, {"Image": nginx.url("image.iso"), "EjectPolicy": "Session"}).status == 204
    wait_for(lambda: is_empty(admin), "the eject", 25)
    assert admin.get(place).status == 404


def test_a_medium_of_a_session_does_not_outlive_the_daemon(own, nginx):
    d = own()
    client, _ = log_in(d, "operator")
    assert client.post(INSERT, {"Image": nginx.url("image.iso")}).status == 204
    wait_for(lambda: "image.iso" in d.state(), "the state file")
    assert client.patch(SLOT, {"EjectPolicy": "Session"}).status == 204
    wait_for(lambda: "image.iso" not in d.state() and "ends with the session" in d.state(), "the state file")
    assert "ends with the session" in d.error("quit --keep")
    assert client.patch(SLOT, {"EjectPolicy": "Timed", "EjectTimeout": "PT1H"}).status == 204
    wait_for(lambda: "image.iso" in d.state(), "the state file")
    assert json.loads(d.state())["slots"][0]["stay_ms"] == 3600000


def test_the_time_goes_on_over_a_restart(users, folder, daemon, nginx, ca):
    shutil.copy(users, folder / "users")
    keys = (f"web.users-file={folder / 'users'}", "web.listen=127.0.0.1:0", ca)
    d = daemon(*keys)
    client = Client(d, "operator")
    began = time.monotonic()
    assert client.post(INSERT, {"Image": nginx.url("image.iso"), "EjectPolicy": "Timed", "EjectTimeout": "PT6S"}).status == 204
    d.kill()
    again = restarted(d, *keys)
    try:
        wait_for(lambda: "goes on with the medium" in again.log(), "the medium")
        client = Client(again, "operator")
        assert client.slot()["EjectPolicy"] == "Timed" and client.slot()["EjectTimeout"] == "PT6S"
        wait_for(lambda: is_empty(client), "the eject", 15)
        assert 5 < time.monotonic() - began < 11
    finally:
        again.stop()


def test_the_configured_time(own, nginx):
    d = own("slot.slot0.eject-after=1s", f"slot.slot1.image={nginx.url('image.iso')}")
    client = Client(d, "operator")
    assert (client.slot()["EjectPolicy"], client.slot()["EjectTimeout"]) == ("Timed", "PT1S")
    assert client.slot(1)["EjectPolicy"] == "Persistent"
    url = {"Image": nginx.url("image.iso")}
    assert client.post(INSERT, url).status == 204
    wait_for(lambda: is_empty(client), "the eject", 10)
    assert client.post(INSERT, {**url, "EjectPolicy": "Persistent"}).status == 204
    time.sleep(1.5)  # the time would be over
    assert client.slot()["Inserted"] and client.post(EJECT).status == 204
    d.ok(f"insert slot0 {url['Image']} ca-file={d.folder}/none verify=no")
    wait_for(lambda: is_empty(client), "the eject", 10) # whoever inserts


def test_a_policy_for_later_inserts(service, admin, nginx):
    client, place = log_in(service, "operator")
    assert client.patch(SLOT, {"EjectPolicy": "Timed", "EjectTimeout": "PT1H"}).status == 204
    assert (client.slot()["EjectPolicy"], client.slot()["EjectTimeout"]) == ("Timed", "PT1H")
    assert client.post(INSERT, {"Image": nginx.url("image.iso")}).status == 204
    assert (client.slot()["EjectPolicy"], client.slot()["EjectTimeout"]) == ("Timed", "PT1H")
    assert client.post(EJECT).status == 204
    assert client.patch(SLOT, {"EjectPolicy": "Session"}).status == 204
    assert client.post(INSERT, {"Image": nginx.url("image.iso")}).status == 204
    assert client.delete(place).status == 204
    wait_for(lambda: is_empty(admin), "the eject", 5)
    refused = admin.post(INSERT, {"Image": nginx.url("image.iso")}) # with a password there is no session
    assert refused.ids == ["ActionParameterValueConflict"] and refused.messages[0]["RelatedProperties"] == ["#/EjectPolicy"]
    assert admin.patch(SLOT, {"EjectPolicy": None}).status == 204
    assert (admin.slot()["EjectPolicy"], admin.slot()["EjectTimeout"]) == ("Persistent", None)


POLICIES = [
    ({"EjectPolicy": "AfterUse"}, "not in the list", "EjectPolicy"),
    ({"EjectPolicy": "OnPowerOff"}, "not in the list", "EjectPolicy"),
    ({"EjectPolicy": "timed", "EjectTimeout": "PT1H"}, "not in the list", "EjectPolicy"),
    ({"EjectPolicy": "Timed"}, "", "EjectTimeout"),
    ({"EjectPolicy": "Timed", "EjectTimeout": None}, "", "EjectTimeout"),
    ({"EjectPolicy": "Timed", "EjectTimeout": "1h"}, "different format", "EjectTimeout"),
    ({"EjectPolicy": "Timed", "EjectTimeout": "PT0S"}, "different format", "EjectTimeout"),
    ({"EjectPolicy": "Timed", "EjectTimeout": "PT0.5S"}, "different format", "EjectTimeout"),
    ({"EjectPolicy": "Timed", "EjectTimeout": "P31D"}, "different format", "EjectTimeout"),
    ({"EjectPolicy": "Timed", "EjectTimeout": 60}, "different type", "EjectTimeout"),
    ({"EjectPolicy": 1}, "different type", "EjectPolicy"),
]


@pytest.mark.parametrize("body,words,about", POLICIES, ids=range(len(POLICIES)))
def test_policies_that_are_refused(admin, nginx, body, words, about):
    for answer in (admin.post(INSERT, {"Image": nginx.url("image.iso"), **body}), admin.patch(SLOT, body),
                   admin.patch(SLOT, {"Image": nginx.url("image.iso"), **body})):
        assert answer.status == 400, answer.body
        message = answer.messages[0]
        assert words in message["Message"] and message["RelatedProperties"] == [f"#/{about}"], message
    assert is_empty(admin)
    assert admin.slot()["EjectPolicy@Redfish.AllowableValues"] == ["Persistent", "Session", "Timed"]


def test_a_medium_that_goes_when_the_host_is_off(users, folder, daemon, nginx, ca):
    """By the hook's word, from either door, over a restart; one that is put in while the host is off is for its start."""
    shutil.copy(users, folder / "users")
    hook = Hook(folder)
    hook.state("PowerState Off\n" + CAN)
    keys = (f"web.users-file={folder / 'users'}", "web.listen=127.0.0.1:0", ca, hook.key)
    d = daemon(*keys)
    client = Client(d, "operator")
    assert "OnPowerOff" in client.slot()["EjectPolicy@Redfish.AllowableValues"] and "AfterUse" in d.error(
        f"insert 1 {nginx.url('image.iso')} eject-policy=afteruse")
    assert "no USB drive" in d.error(f"insert 1 {nginx.url('image.iso')} eject-policy=AfterUse")
    assert client.post(INSERT, {"Image": nginx.url("image.iso"), "EjectPolicy": "OnPowerOff"}).status == 204
    d.ok(f"insert 1 {nginx.url('image.iso')} eject-policy=OnPowerOff")
    assert client.patch(SLOT, {"EjectPolicy": "Persistent"}).status == 204 and client.slot()["EjectPolicy"] == "Persistent"
    assert client.patch(SLOT, {"EjectPolicy": "OnPowerOff"}).status == 204
    assert [client.slot(n)["EjectPolicy"] for n in (0, 1)] == ["OnPowerOff"] * 2
    assert [s["until"] for s in d.status()["slots"]] == ["OnPowerOff"] * 2
    hook.state("PowerState On\n" + CAN)
    wait_for(lambda: d.state().count('"host_was_on": true') == 2, "the power in the state file", 15)
    d.kill()
    again = restarted(d, *keys)
    try:
        client = Client(again, "operator")
        wait_for(lambda: client.slot()["Inserted"] and client.slot(1)["Inserted"], "the media")
        assert client.slot()["EjectPolicy"] == "OnPowerOff"
        hook.state("PowerState Off\n" + CAN)
        wait_for(lambda: is_empty(client) and not client.slot(1)["Inserted"], "the ejects", 15)
        assert client.slot()["EjectPolicy"] == "Persistent" and client.slot()["Status"]["Health"] == "OK"
        assert again.log().count("the host is off") == 2
    finally:
        again.stop()


# --- conditions ---


def test_a_medium_whose_server_goes(own, own_nginx):
    d = own("http.connect-timeout=1s", "http.stall-timeout=1s")
    client = Client(d, "operator")
    assert client.post(INSERT, {"Image": own_nginx.url("image.iso")}).status == 204
    own_nginx.stop()
    h = nbd.NBD()
    h.connect_uri(d.uri())
    h.aio_pread(nbd.Buffer(1 << 16), 4 << 20)
    wait_for(lambda: client.slot()["Status"]["Health"] == "Critical", "the trouble to be seen")
    wait_for(lambda: len(client.slot()["Status"]["Conditions"]) == 2, "the wait of the host to be told")
    etag = client.slot()["@odata.etag"]
    time.sleep(2)  # it is tried again and again, which is nothing new
    assert client.slot()["@odata.etag"] == etag
    condition = client.slot()["Status"]["Conditions"][0]
    assert condition["MessageId"] == "NbdProxy.1.0.MediaUnreadable" and condition["Severity"] == "Critical"
    assert condition["MessageArgs"][0] == "slot0" and condition["OriginOfCondition"] == {"@odata.id": SLOT}
    assert abs(calendar.timegm(time.strptime(condition["Timestamp"], "%Y-%m-%dT%H:%M:%SZ")) - time.time()) < 60
    assert condition["Resolution"] and client.slot()["Inserted"]
    waits = client.slot()["Status"]["Conditions"][1]
    assert waits["MessageId"] == "NbdProxy.1.0.MediaHostWaits" and waits["MessageArgs"] == ["slot0", str(4 << 20)]
    own_nginx.start()
    wait_for(lambda: client.slot()["Status"]["Health"] != "Critical", "the server to be back")


# --- media from a browser ---


def test_a_file_in_a_browser(new_site):
    site = new_site()
    page = site.web("admin")
    client = Client(site.daemon, "admin", "correct horse")
    browser = Browser(page, Image(bytes(100_000)), name="rescue disk.iso").wait_serving()
    site.wait_state("slot0", "ready")
    slot = client.slot()
    assert slot["ConnectedVia"] == "Applet" and slot["ImageName"] == "rescue disk.iso" and slot["Image"] is None
    assert slot["TransferProtocolType"] == "OEM" and slot["Inserted"] and slot["WriteProtected"]
    assert slot["EjectPolicy"] == "Session" and slot["UserName"] is None and slot["TransferMethod"] is None
    assert client.patch(SLOT, {"EjectPolicy": "Persistent"}).ids == ["PropertyValueConflict"]
    assert client.post(EJECT).status == 204
    assert browser.wait_end() == 1000 and browser.reason
    slot = client.slot()
    assert slot["ConnectedVia"] == "NotConnected" and slot["TransferProtocolType"] is None and slot["ImageName"] is None


def test_a_patch_says_what_is_to_be_in(new_site, nginx, certificates):
    """Whatever is in makes room, without an eject between; InsertMedia refuses."""
    site = new_site(more=f"[http]\nca-file = {certificates}/ca.pem\n")
    client = Client(site.daemon, "admin", "correct horse")
    browser = Browser(site.web("admin"), Image(bytes(100_000)), name="rescue disk.iso").wait_serving()
    site.wait_state("slot0", "ready")
    assert client.post(INSERT, {"Image": nginx.url("image.iso")}).ids == ["ResourceInUse"]
    for name in ("image.iso", "other.iso"):
        assert client.patch(SLOT, {"Image": nginx.url(name), "Inserted": True, "WriteProtected": True}).status == 204
        assert client.slot()["Image"] == nginx.url(name) and client.slot()["EjectPolicy"] == "Persistent"
    assert browser.wait_end() == 1000
    assert client.patch(SLOT, {"Image": nginx.url("nothing.iso")}).ids == ["ImageNotFound"]
    assert client.slot()["Image"] == nginx.url("other.iso")  # what is in stays


class Held(http.server.ThreadingHTTPServer):
    """A server of images, whose answers wait for `let` to be set."""

    daemon_threads = True

    def __init__(self):
        self.let = threading.Event()
        super().__init__(("127.0.0.1", 0), HeldHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class HeldHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    data = bytes(65536)

    def log_message(self, *words):
        pass

    def do_GET(self):
        self.server.let.wait(30)
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        part = self.data[first:last + 1]
        self.send_response(206)
        self.send_header("ETag", f'"{self.path}"')
        self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(self.data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


def test_the_same_asked_for_again_waits_with_the_first(new_site):
    """By whatever door, in a slot that is empty and in place of a medium that is in: all have the first one's answer."""
    site = new_site()
    client, page, server = Client(site.daemon, "admin", "correct horse"), site.web("admin"), Held()
    doors = (lambda url: client.post(INSERT, {"Image": url, "Inserted": True, "WriteProtected": True}).status,
             lambda url: client.patch(SLOT, {"Image": url}).status,
             lambda url: page.insert("slot0", url, replace=True).status)

    def ask_all(url, ways):
        server.let.clear()
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            asked = [pool.submit(ways[i % len(ways)], url) for i in range(40)]
            wait_for(lambda: len(re.findall(rf"audit: insert: .*{re.escape(url)}", site.daemon.log())) >= 40, "all to have asked")
            server.let.set()
            return sorted(one.result() for one in asked)

    assert ask_all(server.url("one.iso"), doors) == [200] * 13 + [204] * 27
    assert ask_all(server.url("two.iso"), doors[1:]) == [200] * 20 + [204] * 20
    assert client.slot()["Image"] == server.url("two.iso")
    server.let.clear()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(doors[1], server.url("three.iso"))
        wait_for(lambda: "three.iso" in site.daemon.log(), "the first")
        assert client.patch(SLOT, {"Image": server.url("four.iso")}).ids == ["ResourceInUse"]  # another image is not the same
        server.let.set()
        assert first.result() == 204
    server.shutdown()


@pytest.mark.parametrize("code", (1000, 1001, None))
def test_a_browser_that_ends_its_medium_is_no_failure(new_site, code):
    site = new_site(slots={"slot0": {"reconnect-grace": "500ms"}, "slot1": {}})
    client = Client(site.daemon, "admin", "correct horse")
    with Stream(client) as stream:
        assert stream.comment() == b":\n"
        browser = Browser(site.web("admin"), Image(bytes(100_000)), flavour="webui-vue").wait_serving()
        site.wait_state("slot0", "ready")
        browser.stop(code)
        browser.wait_end()
        while client.slot()["Inserted"]:
            assert client.slot()["Status"]["Health"] == "OK"
        told = [ids(stream.next()[1])[0]]
        while not told[-1].endswith("MediaEjected"):
            told.append(ids(stream.next()[1])[0])
    assert client.slot()["Status"] == {"State": "Enabled", "Health": "OK", "Conditions": []}
    assert not any(name.endswith("MediaFailed") for name in told) and " error " not in site.daemon.log()


def test_a_browser_that_is_lost(new_site):
    site = new_site()
    page = site.web("admin")
    client = Client(site.daemon, "admin", "correct horse")
    browser = Browser(page, Image(bytes(100_000))).wait_serving()
    site.wait_state("slot0", "ready")
    browser.cut()
    status = wait_for(lambda: client.slot()["Status"]["State"] == "StandbyOffline" and client.slot()["Status"], "the loss")
    assert status["Health"] == "Critical" and status["Conditions"][0]["MessageId"] == "NbdProxy.1.0.MediaUnreadable"
    assert client.patch(SLOT, {"Inserted": False}).status == 204
    assert client.slot()["Status"] == {"State": "Enabled", "Health": "OK", "Conditions": []}
