"""ClientCertificates: what a slot shows to its images' servers, which nobody else sees the key of."""
import pathlib
import shutil
import subprocess

import pytest

from conftest import wait_for
from doors import server  # noqa: F401
from redfish_client import (EJECT, INSERT, SLOT, Client, admin, own, service,
                            users)  # noqa: F401 (admin, own, service, users are fixtures)
from test_redfish_slots import restarted

PLACE = SLOT.replace("Managers/bmc", "Systems/system") + "/ClientCertificates"


def text(certificates, name="client"):
    return "".join(pathlib.Path(certificates, f"{name}.{end}").read_text() for end in ("pem", "key"))


def body(pem):
    return {"CertificateString": pem, "CertificateType": "PEM"}


def openssl(*words):
    return subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, text=True).stdout


@pytest.mark.smoke
def test_a_server_that_wants_a_certificate_gets_it(own, nginx, certificates):
    d = own()
    admin, operator = Client(d, "admin"), Client(d, "operator")
    image = {"Image": nginx.url("image.iso", "mutual")}
    assert operator.post(INSERT, image).status == 400
    assert operator.post(PLACE, body(text(certificates))).status == 403
    made = admin.post(PLACE, body(text(certificates)))
    assert made.status == 201 and made.headers["Location"] == PLACE + "/1"
    shown = operator.get(PLACE + "/1").json
    assert shown["Subject"]["CommonName"] == "client" and shown["CertificateString"].strip() == \
        pathlib.Path(certificates, "client.pem").read_text().strip()
    assert admin.slot()["ClientCertificates"] == {"@odata.id": PLACE} and admin.get(PLACE).json["Members@odata.count"] == 1
    assert operator.post(INSERT, image).status == 204 and operator.slot()["Inserted"]
    wait_for(lambda: "are secret" in d.state(), "the state file")
    assert operator.post(INSERT.replace("Slot_0", "Slot_1"), image).status == 400 # it is the other slot's
    assert operator.post(EJECT).status == 204
    assert operator.post("/api/slots/slot0/insert", {"url": image["Image"]}).status == 200 # the page's insert
    assert operator.post(EJECT).status == 204
    assert admin.delete(PLACE + "/1").status == 204
    assert operator.post(INSERT, image).status == 400
    everything = made.body + operator.get(PLACE + "/1").body + d.log().encode() + d.state().encode()
    assert b"PRIVATE" not in everything


def test_a_redirect_takes_it_nowhere(own, nginx, certificates, server):  # noqa: F811
    admin = Client(own(), "admin")
    assert admin.post(PLACE, body(text(certificates))).status == 201
    server.behaviour = lambda r: r.answer(302, [("Location", nginx.url("image.iso", "mutual"))])
    answer = admin.post(INSERT, {"Image": server.url("image.iso")})
    assert answer.status == 400 and "400" in answer.messages[0]["Message"]  # nginx: No required SSL certificate was sent


@pytest.mark.parametrize("secrets", ["no", "yes"])
def test_it_stays_with_state_secrets(users, folder, daemon, nginx, ca, certificates, secrets):
    shutil.copy(users, folder / "users")
    keys = (f"web.users-file={folder / 'users'}", "web.listen=127.0.0.1:0", ca, f"daemon.state-secrets={secrets}")
    kept, image = folder / "slot-client-certificates.json", {"Image": nginx.url("image.iso", "mutual")}
    d = daemon(*keys)
    admin = Client(d, "admin")
    assert admin.post(PLACE, body(text(certificates))).status == 201
    assert admin.post(INSERT, image).status == 204
    wait_for(kept.exists, "the file")
    assert kept.stat().st_mode & 0o777 == 0o600 and ("PRIVATE" in kept.read_text()) == (secrets == "yes")
    wait_for(lambda: "mutual" in d.state() or '"slot0"' in d.state(), "the state file")
    d.kill()
    again = restarted(d, *keys)
    try:
        admin = Client(again, "admin")
        if secrets == "yes":
            wait_for(lambda: again.slot()["state"] == "ready", "the medium of before")
            assert admin.post(EJECT).status == 204 and admin.post(INSERT, image).status == 204
        else:
            assert admin.get(PLACE).json["Members"] == [] and "can't be gone on with" in again.log()
        assert again.log().count("left out") == 0
    finally:
        again.stop()


def test_what_is_taken_and_what_is_not(service, admin, certificates, tmp_path):
    good, key = (pathlib.Path(certificates, f"client.{end}").read_text() for end in ("pem", "key"))
    other, locked = pathlib.Path(certificates, "good.key").read_text(), openssl("rsa", "-aes128", "-passout", "pass:x", "-in",
                                                                                 certificates / "client.key")
    for wrong in (good, key, good + other, good + locked, good + good + key, good + key + key, "x", good + key[:-60],
                  good.replace("CERTIFICATE", "CERTIFICATE REQUEST") + key, good + key + " " * 33000):
        answer = admin.post(PLACE, body(wrong))
        assert (answer.status, answer.ids) == (400, ["CertificateNotUsable"]), wrong[:60]
        assert b"PRIVATE" not in answer.body and "pass phrase" in answer.messages[0]["Resolution"]
    answer = admin.post(PLACE, {"CertificateString": [good + key], "CertificateType": "PEM"})
    assert answer.ids == ["PropertyValueTypeError"] and b"MII" not in answer.body
    assert admin.get(PLACE).json["Members"] == []
    elliptic = openssl("ecparam", "-name", "prime256v1", "-genkey") # with its parameters before it
    (tmp_path / "key").write_text(elliptic)
    signed = openssl("req", "-x509", "-new", "-key", tmp_path / "key", "-subj", "/CN=ec", "-days", 1)
    for pair in (key + good, elliptic + signed):
        assert admin.post(PLACE, body(pair)).status == 201
        assert admin.post(PLACE, body(good + key)).status in (400, 409) # there is one
        place = admin.get(PLACE).json["Members"][0]["@odata.id"]
        assert b"PRIVATE" not in admin.get(place).body and admin.delete(place).status == 204
    assert admin.post(PLACE + "/Members", body(good + key)).status == 201 and admin.delete(PLACE + "/1").status == 204
    assert "PRIVATE" not in service.log()
