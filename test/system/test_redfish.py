"""The Redfish service: its resources, who may do what, and the protocol around them."""
import re

import pytest

from conftest import wait_for
from redfish_client import (ACCOUNTS, EJECT, INSERT, MEDIA, PASSWORDS, ROLES, SESSIONS, SLOT, Client, admin, own, service,
                            users) # the last four are fixtures

PUBLIC = ["/redfish", "/redfish/v1/", "/redfish/v1/odata", "/redfish/v1/$metadata"]
READABLE = ["/redfish/v1/JsonSchemas", "/redfish/v1/JsonSchemas/VirtualMedia.v1_6_0", "/redfish/v1/SessionService", SESSIONS,
            "/redfish/v1/AccountService", ACCOUNTS, "/redfish/v1/AccountService/Roles",
            "/redfish/v1/AccountService/Roles/Operator", "/redfish/v1/Systems", "/redfish/v1/Systems/system",
            "/redfish/v1/Managers", "/redfish/v1/Managers/bmc", MEDIA, SLOT]


# --- resources ---


@pytest.mark.smoke
def test_what_needs_no_login(service):
    nobody = Client(service)
    assert nobody.get("/redfish").json == {"v1": "/redfish/v1/"}
    for path in ("/redfish/v1", "/redfish/v1/"):
        root = nobody.get(path).json
        assert root["@odata.id"] == "/redfish/v1/" and root["@odata.type"].startswith("#ServiceRoot.v1_")
        assert root["Links"]["Sessions"]["@odata.id"] == SESSIONS
        assert root["ProtocolFeaturesSupported"]["SelectQuery"] and not root["ProtocolFeaturesSupported"]["ExcerptQuery"]
        assert not {root.get("Vendor"), root.get("Product")} & {"HPE", "Supermicro", "Lenovo", "Dell"}
    odata = nobody.get("/redfish/v1/odata").json
    assert odata["@odata.context"] == "/redfish/v1/$metadata"
    assert {"/redfish/v1/Systems", "/redfish/v1/Managers", SESSIONS} <= {v["url"] for v in odata["value"]}
    metadata = nobody.get("/redfish/v1/$metadata")
    assert metadata.headers["Content-Type"].startswith("application/xml")
    assert b'Extends="ServiceRoot.v1_18_0.ServiceContainer"' in metadata.body and b'Alias="Redfish"' in metadata.body


def links_in(value):
    if isinstance(value, dict):
        if isinstance(value.get("@odata.id"), str):
            yield value["@odata.id"]
        for name, inner in value.items():
            yield from links_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from links_in(inner)


def test_everything_that_is_linked_is_as_redfish_wants_it(admin):
    metadata = admin.get("/redfish/v1/$metadata").body.decode()
    seen, todo = set(), ["/redfish/v1/"]
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = admin.get(path)
        assert answer.status == 200, path
        body, headers = answer.json, answer.headers
        todo += links_in(body)
        assert body["@odata.id"] == path and body["Name"]
        assert headers["OData-Version"] == "4.0" and headers["Cache-Control"] == "no-cache"
        assert headers["Content-Type"] == "application/json;charset=utf-8"
        assert {"GET", "HEAD"} <= set(headers["Allow"].split(", "))
        assert re.fullmatch(r'"\w+"', headers["ETag"]) and headers["ETag"] == body["@odata.etag"]
        space, _, name = body["@odata.type"].removeprefix("#").rpartition(".")
        assert headers["Link"] == f"</redfish/v1/JsonSchemas/{space}>; rel=describedby"
        assert f'Namespace="{space}"' in metadata
        todo.append(f"/redfish/v1/JsonSchemas/{space}")
        if name.endswith("Collection"):
            assert body["Members@odata.count"] == len(body["Members"])
        else:
            assert body["Id"]
        head = admin.send("HEAD", path)
        assert (head.status, head.body, head.headers["ETag"]) == (200, b"", headers["ETag"])
        assert admin.get(path.rstrip("/") + "/").json["@odata.id"] == path
    assert set(READABLE) - {SESSIONS + "/x"} <= seen
    assert f"{MEDIA}/Slot_1" in seen and f"{ACCOUNTS}/reader" in seen


def test_the_system_and_its_manager(admin):
    system, manager = admin.get("/redfish/v1/Systems/system").json, admin.get("/redfish/v1/Managers/bmc").json
    assert system["VirtualMedia"] == manager["VirtualMedia"] == {"@odata.id": MEDIA}
    assert system["Links"]["ManagedBy"] == [{"@odata.id": "/redfish/v1/Managers/bmc"}]
    assert system["PowerState"] is None
    uuid = r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    if system["UUID"] is not None: # there is a machine-id
        assert re.fullmatch(uuid, system["UUID"]) and system["UUID"] != manager["UUID"]
        assert system["UUID"].replace("-", "") != open("/etc/machine-id").read().strip()


def test_roles_have_the_standard_privileges(admin):
    def privileges(role):
        return set(admin.get(f"/redfish/v1/AccountService/Roles/{role}").json["AssignedPrivileges"])
    assert privileges("ReadOnly") == {"Login", "ConfigureSelf"}
    assert privileges("Operator") == {"Login", "ConfigureSelf", "ConfigureComponents"}
    assert privileges("Administrator") == {"Login", "ConfigureSelf", "ConfigureComponents", "ConfigureManager",
                                           "ConfigureUsers"}
    answer = admin.patch("/redfish/v1/AccountService/Roles/Operator", {"AssignedPrivileges": ["Login"]})
    assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD"
    assert admin.get("/redfish/v1/AccountService/Roles/Root").ids == ["ResourceNotFound"]


# --- who may do what ---

CHANGES = [("POST", INSERT), ("POST", EJECT), ("PATCH", SLOT), ("POST", ACCOUNTS), ("POST", ACCOUNTS + "/Members"),
           ("PATCH", ACCOUNTS + "/admin"), ("DELETE", ACCOUNTS + "/admin"), ("DELETE", SESSIONS + "/1"),
           ("PATCH", "/redfish/v1/Systems/system"), ("POST", "/redfish/v1/Systems/system/Actions/ComputerSystem.Reset")]
SPOOFS = [{"X-Server-Addr": "127.0.0.1"}, {"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1;proto=https"},
          {"X-Real-IP": "169.254.0.17"}, {"Host": "127.0.0.1"}, {"Host": "169.254.0.17"}, {"X-Original-URL": "/redfish"}]


def test_nothing_else_is_done_without_login(service):
    nobody = Client(service)
    for method, path in [("GET", p) for p in READABLE + ["/redfish/v1/Nothing", MEDIA + "/Slot_9"]] + CHANGES:
        for spoof in [{}] + SPOOFS:
            answer = nobody.send(method, path, "{}" if method in ("POST", "PATCH") else None, spoof)
            assert (answer.status, answer.ids) == (401, ["NoValidSession"]), (method, path, spoof)
            assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert "WWW-Authenticate" not in nobody.get(SLOT, **{"X-Requested-With": "XMLHttpRequest"}).headers
    for path in PUBLIC: # only for reading
        assert nobody.post(path, {}).status == 401


def test_who_does_not_log_in_is_told_that_first(service):
    nobody = Client(service)
    for headers in ({"If-Match": '"x"'}, {"OData-Version": "3.0"}, {"Content-Type": "text/plain"}):
        assert nobody.send("PATCH", SLOT, "{", headers, type=None).status == 401
    assert nobody.send("PUT", SLOT, "{}").status == 401


@pytest.mark.parametrize("user,media,accounts", [("reader", 403, 403), ("operator", 400, 403), ("admin", 400, 400)])
def test_each_role_has_its_row(service, user, media, accounts):
    client = Client(service, user)
    for path in READABLE:
        assert client.get(path).status == 200, path
    assert client.post(INSERT, {"Image": 1}).status == media
    assert client.patch(SLOT, {"Image": 1}).status == media
    assert client.post(EJECT).status == (204 if media == 400 else 403)
    for path in (ACCOUNTS, ACCOUNTS + "/Members"):
        assert client.post(path, {"UserName": 1}).status == accounts
    assert client.patch(f"{ACCOUNTS}/{user}", {"RoleId": "Root"}).status == accounts
    members = {m["@odata.id"] for m in client.get(ACCOUNTS).json["Members"]}
    assert members == {f"{ACCOUNTS}/{name}" for name in (ROLES if user == "admin" else [user])}
    if user != "admin":
        assert client.get(ACCOUNTS + "/admin").status == 404
        assert client.patch(ACCOUNTS + "/admin", {"Password": "something-else"}).status == 404
        assert client.delete(f"{ACCOUNTS}/{user}").status == 403
        assert client.patch(SLOT, {"VerifyCertificate": False}).status == 403


# --- sessions ---


def log_in(client, user="admin", password=None, path=SESSIONS):
    return client.post(path, {"UserName": user, "Password": password or PASSWORDS[user]})


def test_a_session_from_its_beginning_to_its_end(service):
    nobody = Client(service)
    answer = log_in(nobody)
    token, place = answer.headers["X-Auth-Token"], answer.headers["Location"]
    assert answer.status == 201 and answer.json["@odata.id"] == place and answer.json["UserName"] == "admin"
    assert answer.json["Password"] is None and len(token) >= 22 and token not in answer.body.decode()
    client = Client(service, token=token)
    assert client.get(place).json["SessionType"] == "Redfish"
    assert {"@odata.id": place} in client.get(SESSIONS).json["Members"]
    other = log_in(nobody, path=SESSIONS + "/Members")
    assert other.status == 201
    assert client.delete(other.headers["Location"]).status == 204
    assert client.delete(place).status == 204
    assert client.get(SLOT).status == 401
    assert Client(service, "admin").delete(place).status == 404


def test_a_cookie_is_nothing_here(service):
    token = log_in(Client(service)).headers["X-Auth-Token"]
    for cookie in (f"X-Auth-Token={token}", f"SESSION={token}; XSRF-TOKEN={token}"):
        assert Client(service).get(SLOT, Cookie=cookie).status == 401
    page = Client(service).post("/api/session", {"user": "admin", "password": PASSWORDS["admin"]})
    cookie = page.headers["Set-Cookie"].split(";")[0]
    assert Client(service).get("/api/slots", Cookie=cookie).status == 200
    assert Client(service).get("/api/slots", Cookie=f"{cookie.partition('=')[0]}={token}").status == 401
    assert Client(service).get(SLOT, Cookie=cookie).status == 401
    assert Client(service, token=cookie.partition("=")[2]).get(SLOT).status == 401


def test_wrong_name_and_wrong_password_look_the_same(own):
    nobody = Client(own())
    answers = [log_in(nobody, *pair) for pair in (("admin", "wrong-password"), ("no-such-user", "wrong-password"))]
    assert answers[0].status == answers[1].status == 401 and answers[0].body == answers[1].body
    assert b"wrong-password" not in answers[0].body and b"admin" not in answers[0].body
    for _ in range(4):
        last = log_in(nobody, "admin", "wrong-password")
    locked = log_in(nobody)
    assert locked.status == 429 and locked.ids == ["TooManyWrongPasswords"] and int(locked.headers["Retry-After"]) > 0, last
    for body in ({"UserName": "admin"}, {"Password": "x"}, {}):
        assert nobody.post(SESSIONS, body).ids == ["PropertyMissing"]
    assert nobody.post(SESSIONS, {"UserName": "admin", "Password": 1}).ids == ["PropertyValueTypeError"]


def test_others_sessions_are_seen_by_administrators_only(service):
    place = log_in(Client(service), "operator").headers["Location"]
    reader, admin = Client(service, "reader"), Client(service, "admin")
    assert reader.get(place).status == 404 and reader.delete(place).status == 404
    assert {"@odata.id": place} not in reader.get(SESSIONS).json["Members"]
    assert Client(service, "operator").get(place).status == 200
    assert admin.get(place).status == 200 and admin.delete(place).status == 204


def test_a_page_of_another_site_opens_no_session(service):
    answer = Client(service).post(SESSIONS, {"UserName": "admin", "Password": PASSWORDS["admin"]},
                                  Origin="https://evil.example")
    assert answer.status == 403 and "X-Auth-Token" not in answer.headers
    assert Client(service, "admin").post(EJECT, {}, Origin="https://evil.example").status == 403


# --- accounts ---


def test_an_account_from_its_beginning_to_its_end(own):
    d = own()
    admin = Client(d, "admin")
    made = admin.post(ACCOUNTS, {"UserName": "new", "Password": "new-password", "RoleId": "ReadOnly"})
    assert made.status == 201 and made.headers["Location"] == f"{ACCOUNTS}/new" and made.json["Password"] is None
    new = Client(d, "new", "new-password")
    assert new.get(SLOT).status == 200 and new.post(EJECT).status == 403
    assert admin.post(ACCOUNTS, {"UserName": "new", "Password": "new-password", "RoleId": "ReadOnly"}).ids == [
        "ResourceAlreadyExists"]
    before = admin.get(f"{ACCOUNTS}/new").headers["ETag"]
    patched = admin.patch(f"{ACCOUNTS}/new", {"RoleId": "Operator"}, **{"If-Match": before})
    assert patched.status == 200 and patched.json["RoleId"] == "Operator" and patched.headers["ETag"] != before
    assert admin.patch(f"{ACCOUNTS}/new", {"RoleId": "ReadOnly"}, **{"If-Match": before}).ids == ["PreconditionFailed"]
    assert new.post(EJECT).status == 204
    assert new.patch(f"{ACCOUNTS}/new", {"Password": "newer-password"}).status == 200
    assert new.get(SLOT).status == 401
    new = Client(d, "new", "newer-password")
    token = log_in(Client(d), "new", "newer-password").headers["X-Auth-Token"]
    assert Client(d, token=token).get(SLOT).status == 200
    assert admin.patch(f"{ACCOUNTS}/new", {"Enabled": False}).json["Enabled"] is False
    wait_for(lambda: Client(d, token=token).get(SLOT).status == 401, "the session's end", 1)
    assert new.get(SLOT).status == 401
    assert admin.delete(f"{ACCOUNTS}/new").status == 204
    assert admin.get(f"{ACCOUNTS}/new").status == 404 and admin.delete(f"{ACCOUNTS}/new").status == 404
    assert "newer-password" not in d.log() and "new-password" not in d.log()


def test_what_accounts_refuse(own):
    admin = Client(own(), "admin")
    good = {"UserName": "x", "Password": "x-password", "RoleId": "Operator"}
    for missing in good:
        assert admin.post(ACCOUNTS, {k: v for k, v in good.items() if k != missing}).ids == ["PropertyMissing"]
    for change, wanted in (({"RoleId": "Root"}, "PropertyValueNotInList"), ({"Password": "2weak"}, "PropertyValueIncorrect"),
                           ({"UserName": "a:b"}, "PropertyValueIncorrect"), ({"UserName": "x" * 70}, "PropertyValueIncorrect"),
                           ({"Enabled": "yes"}, "PropertyValueTypeError"), ({"Colour": 1}, "PropertyUnknown")):
        answer = admin.post(ACCOUNTS, {**good, **change})
        assert (answer.status, answer.ids) == (400, [wanted]), change
        assert "2weak" not in answer.body.decode()
    for body, wanted in (({"UserName": "y"}, "PropertyNotWritable"), ({"Colour": 1}, "PropertyUnknown"), ({}, "EmptyJSON"),
                         ({"@odata.id": "x"}, "NoOperation"), ({"RoleId": 1}, "PropertyValueTypeError"),
                         ({"Password": 7}, "PropertyValueTypeError")):
        answer = admin.patch(f"{ACCOUNTS}/reader", body)
        assert (answer.status, answer.ids) == (400, [wanted]), body
    mixed = admin.patch(f"{ACCOUNTS}/reader", {"RoleId": "Operator", "Colour": 1})
    assert mixed.status == 200 and mixed.json["RoleId"] == "Operator"
    assert mixed.json["@Message.ExtendedInfo"][0]["MessageId"].endswith(".PropertyUnknown")
    for change in ({"Enabled": False}, {"RoleId": "ReadOnly"}):
        assert admin.patch(f"{ACCOUNTS}/admin", change).ids == ["ResourceInUse"]
    assert admin.delete(f"{ACCOUNTS}/admin").ids == ["ResourceInUse"]


# --- the protocol ---


def test_conditions(admin):
    etag = admin.get(SLOT).headers["ETag"]
    bare = etag.strip('"')
    for form in (etag, f"W/{etag}", bare, "*", f'"x", {etag}'):
        same = admin.get(SLOT, **{"If-None-Match": form})
        assert (same.status, same.body, same.headers["ETag"]) == (304, b"", etag)
        assert admin.patch(SLOT, {"Inserted": False}, **{"If-Match": form}).status == 204
    for form in ('"x"', "x", f'"{bare}0"', '""'):
        assert admin.get(SLOT, **{"If-None-Match": form}).status == 200
        answer = admin.patch(SLOT, {"Inserted": False}, **{"If-Match": form})
        assert (answer.status, answer.ids) == (412, ["PreconditionFailed"])
    assert admin.patch(SLOT, {"Inserted": False}).status == 204 # none is needed


def test_methods_versions_and_paths(admin):
    for method in ("PUT", "DELETE", "OPTIONS", "POST"):
        answer = admin.send(method, SLOT)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, PATCH"), method
    assert admin.get(INSERT).headers["Allow"] == "POST"
    assert admin.send("FAKEMETHODFORTEST", SLOT).status == 501
    assert admin.get(SLOT, **{"OData-Version": "4.0"}).status == 200
    assert admin.get(SLOT, **{"OData-Version": "3.0"}).status == 412
    assert admin.get(SLOT, Accept="application/json").status == 200
    for path, wanted in ((MEDIA + "/Slot_9", "ResourceNotFound"), (MEDIA + "/Slot_00", "ResourceNotFound"),
                         (MEDIA + "/" + "x" * 79, "ResourceNotFound"), (MEDIA + "/" + "x" * 300, "InvalidURI"),
                         ("/redfish/v2", "InvalidURI"), ("/redfish/v1/Systems/other", "InvalidURI"),
                         ("/redfish/v1/systems", "InvalidURI")):
        answer = admin.get(path)
        assert (answer.status, answer.ids) == (404, [wanted]), path
    for path in (MEDIA + "/Slot_9", ACCOUNTS + "/none"):
        assert admin.patch(path, {"Image": None}).status == 404
    assert admin.post(MEDIA + "/Slot_9/Actions/VirtualMedia.EjectMedia").status == 404


def test_query_options(admin):
    selected = admin.get(SLOT + "?$select=Inserted,Actions/%23VirtualMedia.EjectMedia")
    assert set(selected.json) == {"@odata.id", "@odata.type", "@odata.etag", "Inserted", "Actions"}
    assert list(selected.json["Actions"]) == ["#VirtualMedia.EjectMedia"]
    full = admin.get(MEDIA).json
    assert admin.get(MEDIA + "?$top=1").json["Members"] == full["Members"][:1]
    page = admin.get(MEDIA + "?$skip=1&$top=5").json
    assert page["Members"] == full["Members"][1:] and page["Members@odata.count"] == 2
    for ignored in ("only", "excerpt", "x=1&y", "only=true"):
        assert admin.get(f"{MEDIA}?{ignored}").json == full
    for query, status, wanted in (("$expand=x", 400, "QueryParameterValueError"), ("$filter=x", 501, "QueryParameterUnsupported"),
                                  ("$nothing", 501, "QueryParameterUnsupported"), ("$top=x", 400, "QueryParameterValueError"),
                                  ("$select=", 400, "QueryParameterValueError"), ("$expand=.($levels=2)", 400, "QueryParameterValueError"),
                                  ("$expand", 400, "QueryParameterValueError"), ("$expand=none", 400, "QueryParameterValueError")):
        answer = admin.get(f"{MEDIA}?{query}")
        assert (answer.status, answer.ids) == (status, [wanted]), query
    assert admin.get(SLOT + "?$top=1").ids == ["QueryNotSupportedOnResource"]
    for query in ("$select=Id", "$expand=."):
        assert admin.patch(f"{SLOT}?{query}", {"Inserted": False}).ids == ["QueryNotSupportedOnOperation"]


def test_one_get_in_place_of_many(service, admin):
    full = admin.get(MEDIA).json
    members = [admin.get(m["@odata.id"]).json for m in full["Members"]]
    for form in (".", "*", ".($levels=1)", "*($levels=1)"):
        answer = admin.get(f"{MEDIA}?$expand={form}")
        assert answer.json == {**full, "Members": members}, form
        assert "ETag" not in answer.headers # it would say nothing of the members
    assert admin.get(f"{MEDIA}?$expand=~").json == full # nothing of it is in Links
    answer = admin.get(f"{MEDIA}?$expand=.&$skip=1&$select=Members")
    assert answer.json["Members"] == members[1:]
    assert admin.get(f"{MEDIA}?$expand=.", **{"If-None-Match": "*"}).status == 200
    system = admin.get("/redfish/v1/Systems/system?$expand=~").json
    assert system["Links"]["ManagedBy"][0]["Id"] == "bmc" and list(system["VirtualMedia"]) == ["@odata.id"]
    system = admin.get("/redfish/v1/Systems/system?$expand=.").json
    assert system["VirtualMedia"]["Members"] == full["Members"] # one level, and no more
    assert list(system["Links"]["ManagedBy"][0]) == ["@odata.id"]


def test_who_expands_sees_no_more_than_by_single_gets(service, admin):
    place = log_in(Client(service), "operator").headers["Location"]
    for user in ("reader", "admin"):
        client = Client(service, user)
        accounts = client.get(ACCOUNTS + "?$expand=.").json["Members"]
        assert {a["UserName"] for a in accounts} == (set(ROLES) if user == "admin" else {user})
        sessions = client.get(SESSIONS + "?$expand=*").json["Members"]
        assert (place in {s["@odata.id"] for s in sessions}) == (user == "admin")
    root = Client(service).get("/redfish/v1/?$expand=*").json # nobody
    assert root["Systems"] == {"@odata.id": "/redfish/v1/Systems"} and "Members" not in str(root)
    root = Client(service, "reader").get("/redfish/v1/?$expand=*").json
    assert root["Systems"]["Members@odata.count"] == 1 and len(root["Links"]["Sessions"]["Members"]) == 0
    assert Client(service, "reader", "wrong").get("/redfish/v1/?$expand=.").status == 401
    assert admin.delete(place).status == 204


BAD_JSON = [b"{", b"", b"[]", b"null", b'"x"', b"{} {}", b'{"Image":1,"Image":2}', b'{"Image":"\\ud800"}', b'{"Image":"\\u0000"}',
            b"\xef\xbb\xbf{}", b'{"Image":1e400}', b"{'Image':1}", b'{"Image":"\xff"}', b'{"x":' * 1000 + b"1" + b"}" * 1000,
            b'{"Image":null,}', b"{}x"]


@pytest.mark.parametrize("body", BAD_JSON, ids=range(len(BAD_JSON)))
def test_json_is_strict(admin, body):
    answer = admin.patch(SLOT, body)
    assert (answer.status, answer.ids) == (400, ["MalformedJSON"])


def test_bodies(admin):
    assert admin.send("PATCH", SLOT, "{}", type="text/plain").ids == ["HeaderInvalid"]
    assert admin.send("PATCH", SLOT, "{}", type="multipart/form-data").status == 415
    for type in (None, "application/json; charset=utf-8", "Application/JSON", "application/x-www-form-urlencoded"):
        assert admin.send("PATCH", SLOT, '{"Inserted": false}', type=type).status == 204, type
    big = {"Image": "x" * (64 << 10)}
    assert admin.patch(SLOT, big).status == 413
    assert Client.post(admin, SESSIONS, {"UserName": "x" * 5000, "Password": "x"}).status == 413
    assert admin.send("GET", SLOT, "nonsense").status == 200
