"""Whole conversations of clients that are in no distribution: each step with the client's own fields and body, and what the
client looks at in the answer before it goes on."""
import base64
import http.client
import json
import ssl
from urllib.parse import urlparse

import pytest

from test_host import Hook
from redfish_client import (MEDIA, PASSWORDS, SESSIONS, Client, admin, own, port_of, service,
                            users)  # noqa: F401 (admin, own, service, users are fixtures)

BASIC = "Basic " + base64.b64encode(f"operator:{PASSWORDS['operator']}".encode()).decode()


class Wire:
    """Sends exactly the fields it is given, and those that HTTP needs; on one connection, or on one for each request."""

    def __init__(self, service, fields, keep=True):
        self.port, self.fields, self.keep, self.connection = port_of(service), fields, keep, None

    def ask(self, method, path, body=None, **more):
        connection = self.connection or http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60,
                                                                    context=ssl._create_unverified_context())
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in {**self.fields, **more}.items():
            if value is not None:
                connection.putheader(name.replace("_", "-"), value)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None or method == "POST":
            connection.putheader("Content-Length", str(len(data or b"")))
        connection.endheaders(data)
        answer = connection.getresponse()
        answer.text = answer.read()
        answer.json = json.loads(answer.text) if answer.text else None
        self.connection = connection if self.keep else None
        if not self.keep:
            connection.close()
        return answer

    def ok(self, method, path, body=None, **more):
        answer = self.ask(method, path, body, **more)
        assert answer.status in (200, 201, 202, 204), (method, path, answer.status, answer.text)
        return answer


# --- Ansible: community.general.redfish_command, VirtualMediaInsert and VirtualMediaEject ---

ANSIBLE_GET = {"Accept": "application/json", "OData-Version": "4.0", "Connection": "close", "User-Agent": "ansible-httpget"}
ANSIBLE_SEND = {**ANSIBLE_GET, "Content-Type": "application/json", "Authorization": BASIC}
OPTIONS = {"Inserted": True, "WriteProtected": True, "UserName": "", "Password": "", "TransferProtocolType": "HTTPS",
           "TransferMethod": "Stream"}


def ansible_slots(service):
    reader = Wire(service, ANSIBLE_GET, keep=False)
    root = reader.ok("GET", "/redfish/v1/").json # without credentials, and with the slash
    reader.fields = {**ANSIBLE_GET, "Authorization": BASIC}
    manager = reader.ok("GET", root["Managers"]["@odata.id"]).json["Members"][0]["@odata.id"]
    media = reader.ok("GET", manager).json["VirtualMedia"]["@odata.id"]
    places = [m["@odata.id"] for m in reader.ok("GET", media).json["Members"]]
    return reader, {place: reader.ok("GET", place) for place in places}


def ansible_empty(slots, types):
    for place, answer in slots.items():
        data = answer.json
        if set(types) & set(data["MediaTypes"]) and not data["Inserted"] and not data["ImageName"]:
            return place, answer
    raise AssertionError("no slot is free")


@pytest.mark.parametrize("door", ["POST", "PATCH"])
def test_ansible(service, admin, nginx, door):
    url = nginx.url("image.iso") + "?x=%2Fy"
    reader, slots = ansible_slots(service)
    place, answer = ansible_empty(slots, ["CD", "DVD"])
    data, sender = answer.json, Wire(service, ANSIBLE_SEND, keep=False)
    options = {name: value for name, value in OPTIONS.items() if name in data}
    assert set(options) == set(OPTIONS) # what is missing in the resource is never sent
    action = data["Actions"]["#VirtualMedia.InsertMedia"]
    for name in ("TransferProtocolType", "TransferMethod"):
        assert options[name] in action[f"{name}@Redfish.AllowableValues"] and options[name] in data[f"{name}@Redfish.AllowableValues"]
    if door == "POST":
        parameters = reader.ok("GET", action["@Redfish.ActionInfo"]).json["Parameters"]
        known = {p["Name"]: p.get("AllowableValues", []) for p in parameters}
        for name, value in {"Image": url, **options}.items(): # it refuses what is in no list of values, a flag by its own type
            assert name in known and (not known[name] or value in known[name]), name
        sender.ok("POST", action["target"], {"Image": url, **options})
    else:
        assert "PATCH" in [m.strip() for m in answer.headers["Allow"].split(",")]
        etag = reader.ok("GET", place).headers["ETag"].strip('"') # strip_etag_quotes
        sender.ok("PATCH", place, {"Image": url, **options}, If_Match=etag)
    _, slots = ansible_slots(service)
    found = [p for p, a in slots.items() if a.json["Image"] and urlparse(a.json["Image"]) == urlparse(url)]
    assert found == [place] and slots[place].json["Inserted"]
    if door == "POST":
        sender.ok("POST", slots[place].json["Actions"]["#VirtualMedia.EjectMedia"]["target"], {})
    else:
        etag = reader.ok("GET", place).json["@odata.etag"]
        sender.ok("PATCH", place, {"Image": None, "Inserted": False}, If_Match=etag)
    _, slots = ansible_slots(service)
    assert ansible_empty(slots, ["CD", "DVD"])[0] == place


# --- gofish ---


def test_gofish(service, admin, nginx):
    wire = Wire(service, {"User-Agent": "gofish/1.0", "Accept": "application/json", "Accept-Encoding": "gzip",
                          "Connection": "close"}, keep=False)
    root = wire.ok("GET", "/redfish/v1/").json
    login = wire.ask("POST", root["Links"]["Sessions"]["@odata.id"], {"UserName": "operator", "Password": PASSWORDS["operator"]},
                     Content_Type="application/json")
    assert login.status == 201
    wire.fields["X-Auth-Token"] = login.headers["X-Auth-Token"]
    system = wire.ok("GET", wire.ok("GET", root["Systems"]["@odata.id"]).json["Members"][0]["@odata.id"]).json
    member = wire.ok("GET", system["VirtualMedia"]["@odata.id"]).json["Members"][0]["@odata.id"]
    media = wire.ok("GET", member).json
    body = {"Image": nginx.url("image.iso"), "Inserted": True, "MediaType": "CD", "TransferMethod": "Stream",
            "TransferProtocolType": "HTTPS", "WriteProtected": True}
    wire.ok("POST", media["Actions"]["#VirtualMedia.InsertMedia"]["target"], body, Content_Type="application/json")
    assert wire.ok("GET", member).json["ConnectedVia"] == "URI"
    wire.ok("POST", media["Actions"]["#VirtualMedia.EjectMedia"]["target"], {}, Content_Type="application/json")
    wire.ok("PATCH", member, {"Inserted": False, "WriteProtected": False}, Content_Type="application/json",
            If_Match=wire.ok("GET", member).headers["ETag"])
    assert wire.ok("GET", member).json["Image"] is None
    assert wire.ask("DELETE", urlparse(login.headers["Location"]).path).status == 204
    assert wire.ask("GET", member).status == 401


# --- RackN: the redfish driver of Digital Rebar's ipmi plugin, on an old gofish ---


def rackn(service):
    """The wire with a session, the system, and the second of the media, which the driver takes for the CD."""
    wire = Wire(service, {"User-Agent": "gofish/1.0", "Accept": "application/json"}, keep=False)
    root = wire.ok("GET", "/redfish/v1/").json
    login = wire.ok("POST", root["Links"]["Sessions"]["@odata.id"], {"UserName": "operator", "Password": PASSWORDS["operator"]},
                    Content_Type="application/json")
    wire.fields["X-Auth-Token"] = login.headers["X-Auth-Token"]
    system = wire.ok("GET", wire.ok("GET", root["Systems"]["@odata.id"]).json["Members"][0]["@odata.id"]).json
    managers = wire.ok("GET", "/redfish/v1/Managers/").json["Members"]
    assert all(isinstance(v, str) for m in managers for v in m.values()) # read as a map of strings
    media = wire.ok("GET", managers[0]["@odata.id"]).json["VirtualMedia"]
    assert all(isinstance(v, str) for v in media.values())
    return wire, system, wire.ok("GET", media["@odata.id"]).json["Members"][1]["@odata.id"]


@pytest.mark.parametrize("boot", [False, True])
def test_rackn_mounts_virtual_media(own, folder, nginx, boot):
    hook = Hook(folder)
    wire, system, media = rackn(own(hook.key))
    assert wire.ok("GET", media).json["Inserted"] is False # statusVirtualMedia
    url, json_body = nginx.url("image.iso"), {"Content_Type": "application/json"}
    if boot:
        body = {"Image": url, "Oem": {"Hpe": {"BootOnNextServerReset": True}}}
        assert wire.ask("PATCH", media + "/", body, **json_body).status == 204
    else:
        assert wire.ask("POST", media + "/Actions/VirtualMedia.InsertMedia", {"Image": url}, **json_body).status == 204
    assert wire.ok("GET", media).json["Image"] == url and wire.ok("GET", media).json["Inserted"] is True
    assert hook.calls() == (["boot Usb Once"] if boot else [])
    answer = wire.ok("PATCH", system["@odata.id"], {"Boot": {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Cd"}},
                     **json_body) # nextbootcd
    assert answer.json["Boot"]["BootSourceOverrideTarget"] == "Cd" # a body that can't be decoded is an error there
    reset = system["Actions"]["#ComputerSystem.Reset"]
    allowed = reset["ResetType@Redfish.AllowableValues"]
    cycle = next(t for t in ("PowerCycle", "ForceRestart") if t in allowed) # powercycle
    wire.ok("POST", reset["target"], {"ResetType": cycle}, **json_body)
    assert hook.calls() == ["boot Cd Once", f"reset {cycle}"]
    assert wire.ask("POST", media + "/Actions/VirtualMedia.EjectMedia", {}, **json_body).status == 204
    assert wire.ok("GET", media).json["Image"] is None


# --- Tacklebox, on the Redfish library of DMTF: one connection that is kept ---


def tacklebox(service):
    wire = Wire(service, {"Accept": "*/*", "Accept-Encoding": "gzip, deflate", "User-Agent": "python-redfish-library", "Connection": "Keep-Alive",
                          "OData-Version": "4.0"})
    root = wire.ok("GET", "/redfish/v1/").json
    login = wire.ok("POST", "/redfish/v1/SessionService/Sessions", {"UserName": "operator", "Password": PASSWORDS["operator"]},
                    Content_Type="application/json")
    wire.fields["X-Auth-Token"] = login.headers["X-Auth-Token"]
    system = wire.ok("GET", wire.ok("GET", root["Systems"]["@odata.id"]).json["Members"][0]["@odata.id"]).json
    places = [m["@odata.id"] for m in wire.ok("GET", system["VirtualMedia"]["@odata.id"]).json["Members"]]
    return wire, login.headers["Location"], {p: wire.ok("GET", p) for p in places}


def test_tacklebox(service, admin, nginx):
    url = nginx.url("image.iso")
    wire, session, slots = tacklebox(service)
    place, media = next((p, a.json) for p, a in slots.items() if a.json["Image"] is None and "CD" in a.json["MediaTypes"])
    wire.ok("POST", media["Actions"]["#VirtualMedia.InsertMedia"]["target"], {"Image": url, "Inserted": True, "WriteProtected": True},
            Content_Type="application/json")
    assert wire.ok("GET", place).json["Inserted"] is True
    wire.ok("POST", media["Actions"]["#VirtualMedia.EjectMedia"]["target"], {}, Content_Type="application/json")
    assert wire.ok("GET", place).json["Image"] is None
    wire.ok("DELETE", session)


def test_tacklebox_after_an_error(service, admin, nginx):
    """What the action refuses, PATCH refuses for the same reason: nothing gets in by the second door."""
    wire, session, slots = tacklebox(service)
    place, answer = next(iter(slots.items()))
    target = answer.json["Actions"]["#VirtualMedia.InsertMedia"]["target"]
    body = {"Image": nginx.url("nothing.iso")}
    first = wire.ask("POST", target, body, Content_Type="application/json")
    etag = wire.ok("GET", place).headers["ETag"]
    second = wire.ask("PATCH", place, {**body, "Inserted": True}, Content_Type="application/json", If_Match=etag)
    assert first.status == second.status == 400 and first.json == second.json
    assert wire.ok("GET", place).json["Image"] is None
    wire.ok("PATCH", place, {"Image": None, "Inserted": False}, Content_Type="application/json",
            If_Match=wire.ok("GET", place).headers["ETag"])
    wire.ok("DELETE", session)


# --- webui-vue, by axios ---


def test_webui_vue(service, admin, nginx):
    wire = Wire(service, {"Accept": "application/json", "X-Requested-With": "XMLHttpRequest", "User-Agent": "Mozilla/5.0",
                          "Accept-Encoding": "gzip, deflate, br", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"})
    wire.fields["Origin"] = f"https://127.0.0.1:{wire.port}"
    login = wire.ok("POST", SESSIONS, {"UserName": "operator", "Password": PASSWORDS["operator"]}, Content_Type="application/json")
    cookies = dict(line.split(";")[0].split("=", 1) for line in login.headers.get_all("Set-Cookie"))
    wire.fields["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    wire.fields["X-XSRF-TOKEN"] = cookies["XSRF-TOKEN"]  # axios does, with each request; it has no token to send
    devices = [wire.ok("GET", m["@odata.id"]).json for m in wire.ok("GET", MEDIA).json["Members"]]
    legacy = [d for d in devices if not d["TransferProtocolType"]] # what its page mounts by URL
    assert [d["Id"] for d in legacy] == ["Slot_0", "Slot_1"]
    assert [d["Oem"]["OpenBMC"]["WebSocketEndpoint"] for d in devices] == ["/nbd/0", "/nbd/1"]
    target = f"{MEDIA}/Slot_1/Actions/VirtualMedia."
    wire.ok("POST", target + "InsertMedia", {"Image": nginx.url("image.iso"), "UserName": "", "Password": "", "WriteProtected": True},
            Content_Type="application/json")
    assert admin.slot(1)["Inserted"]
    wire.ok("POST", target + "EjectMedia", Content_Type="application/x-www-form-urlencoded")
    assert not admin.slot(1)["Inserted"]
    gone = wire.ok("DELETE", login.headers["Location"])
    assert all("; Max-Age=0" in line for line in gone.headers.get_all("Set-Cookie"))
    assert wire.ask("GET", MEDIA).status == 401


# --- curl, as the guide of OpenBMC has it ---


def test_the_guide_of_openbmc(service, admin, nginx):
    wire = Wire(service, {"Accept": "*/*", "User-Agent": "curl/8.5.0"}, keep=False)
    token = wire.ok("POST", SESSIONS, {"UserName": "operator", "Password": PASSWORDS["operator"]},
                    Content_Type="application/json").headers["X-Auth-Token"]
    wire.fields["X-Auth-Token"] = token
    slot = f"{MEDIA}/Slot_1"
    body = {"Image": nginx.url("image.iso"), "TransferProtocolType": "HTTPS", "UserName": "", "Password": "", "WriteProtected": True,
            "Inserted": True}
    wire.ok("PATCH", slot, body, Content_Type="application/json")
    assert wire.ok("GET", slot).json["Inserted"]
    wire.ok("PATCH", slot, {"Inserted": False}, Content_Type="application/x-www-form-urlencoded") # curl -d
    wire.ok("POST", f"{slot}/Actions/VirtualMedia.InsertMedia", {"Image": body["Image"], "TransferProtocolType": "HTTPS"},
            Content_Type="application/x-www-form-urlencoded")
    wire.ok("POST", f"{slot}/Actions/VirtualMedia.EjectMedia")
    assert not wire.ok("GET", slot).json["Inserted"]


# --- ironic, by what the errors say ---


def test_ironic_learns_from_errors(service, admin, nginx):
    """It adds what an error names: none may name what it need not send, or it goes on in vain."""
    wire = Wire(service, {"Content-Type": "application/json", "OData-Version": "4.0", "Accept-Encoding": "identity",
                          "Connection": "close", "Authorization": BASIC}, keep=False)
    target = f"{MEDIA}/Slot_0/Actions/VirtualMedia.InsertMedia"
    for body in ({"Image": nginx.url("nothing.iso")}, {"Image": nginx.url("auth/image.iso")}):
        error = wire.ask("POST", target, body).json["error"]
        said = json.dumps(error)
        assert not error["code"].endswith(("ActionParameterMissing", "PropertyMissing"))
        assert not any(word in said for word in ("TransferProtocolType", "TransferMethod"))
    wire.ok("POST", target, {"Image": nginx.url("image.iso"), "TransferProtocolType": "HTTPS", "TransferMethod": "Stream",
                             "UserName": "none", "Password": "none"})
    wire.fields.pop("Content-Type")
    wire.ok("POST", f"{MEDIA}/Slot_0/Actions/VirtualMedia.EjectMedia")
    wire.ok("POST", f"{MEDIA}/Slot_0/Actions/VirtualMedia.EjectMedia", {}, Content_Type="application/json")
