"""Every route with every method by everybody, and every answer to a GET against the properties of its schema."""

import pytest

from browser import Browser, Image
from conftest import wait_for
from redfish_client import (EJECT, INSERT, MEDIA, PASSWORDS, SESSIONS, SLOT, Client, admin, own, service,
                            users)  # noqa: F401 (admin, own, service, users are fixtures)
from redfish_schema import resource_faults
from redfish_source import routes
from redfish_tables import ADMIN, ALL, COLLECTION, LOGIN, MEDIA as MAY_INSERT, ROUTES, TYPES
from test_redfish_events import SUBSCRIPTIONS, Stream
from test_host import Hook
from test_security_logins import SPOOFS
from website import accounts, new_site  # noqa: F401 (fixtures)

# --- routes ---

EVERY_METHOD = ("GET", "HEAD", "POST", "PATCH", "DELETE", "PUT", "OPTIONS")
MAY = {None: ALL, "reader": LOGIN, "operator": MAY_INSERT, "admin": ADMIN}


def test_the_table_has_every_route():
    source = {path: {words.split()[0] for words in methods} for path, methods in routes().items()}
    assert source == {path: set(methods) for path, methods in ROUTES.items()}


def sample(path):
    """One that is not there, where that may be: nothing is changed."""
    return path.replace("VirtualMedia/*", "VirtualMedia/Slot_0").replace("*", "none-such")


@pytest.mark.parametrize("user", MAY, ids=lambda u: u or "nobody")
def test_every_route_with_every_method(service, user):
    client = Client(service, user) if user else Client(service)
    for path, methods in ROUTES.items():
        place = sample(path)
        for method in EVERY_METHOD:
            if place.endswith("/SSE") and method == "GET" and user:
                continue # it would not end
            wanted = methods.get("GET" if method == "HEAD" else method)
            body = '{"Nothing": 1}' if method in ("POST", "PATCH", "PUT") else None
            answer = client.send(method, place, body)
            about = (user, method, place, answer.status, answer.body[:200])
            allowed = {"GET", "HEAD"} if "GET" in methods else set()
            allowed |= set(methods) - {"GET"}
            if not user and wanted != ALL:
                assert answer.status == 401, about
            elif wanted is None:
                assert answer.status == 405 and set(answer.headers["Allow"].split(", ")) == allowed, about
            elif MAY[user] < wanted:
                assert answer.status == 403 or (answer.status == 404 and "none-such" in place), about
            elif "none-such" in place:
                assert answer.status == 404, about
            else: # what it does is tested elsewhere; the body says nothing that could be done
                assert answer.status == (200 if method in ("GET", "HEAD") else 400), about


def test_no_route_believes_a_header(service):
    nobody = Client(service)
    for path, methods in ROUTES.items():
        for method in (m for m, who in methods.items() if who != ALL):
            for name, value in SPOOFS:
                answer = nobody.send(method, sample(path), '{"Nothing": 1}' if method in ("POST", "PATCH") else None, {name: value})
                assert answer.status == 401 or (name, value) == ("Host", "") and answer.status == 400, (method, path, name, value)


# --- properties ---


def links_in(value):
    if isinstance(value, dict):
        if isinstance(value.get("@odata.id"), str):
            yield value["@odata.id"]
        if "@Redfish.ActionInfo" in value:
            yield value["@Redfish.ActionInfo"]
        for inner in value.values():
            yield from links_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from links_in(inner)


def crawl(client):
    """Path -> resource, of all that can be reached; answers by $expand say the same."""
    seen, todo = {}, ["/redfish/v1/", SUBSCRIPTIONS]
    while todo:
        path = todo.pop()
        if path not in seen:
            answer = client.get(path)
            assert answer.status == 200, path
            seen[path] = answer.json
            todo += links_in(answer.json)
    return seen


def check_all(client):
    resources = crawl(client)
    found = [f for path, resource in resources.items() for f in resource_faults(resource, path)]
    assert not found, "\n".join(found)
    return {r["@odata.type"].rpartition(".")[2] for r in resources.values()}


def test_the_checker_finds_faults():
    """One of each kind is found."""
    good = {"@odata.id": "/redfish/v1/x", "@odata.type": "#Role.v1_3_1.Role", "Id": "x", "Name": "x", "RoleId": "x",
            "AssignedPrivileges": ["Login"]}
    assert resource_faults(good, "") == []
    for change in ({"Colour": 1}, {"RoleId": None}, {"AssignedPrivileges": ["Root"]}, {"AssignedPrivileges": "Login"},
                   {"IsPredefined": 1}, {"@odata.id": "x"}, {"@odata.type": "Role"}, {"@odata.type": "#Colour.v1_0_0.Colour"}):
        assert resource_faults({**good, **change}, ""), change
    assert resource_faults({k: v for k, v in good.items() if k != "RoleId"}, "")
    system = {**good, "@odata.type": "#ComputerSystem.v1_22_0.ComputerSystem", "UUID": "x", "Links": []}
    assert len(resource_faults(system, "")) >= 3


def test_every_resource_has_the_properties_of_its_type(service, admin, nginx, certificates):
    body = {"CertificateString": (certificates / "good.pem").read_text(), "CertificateType": "PEM"}
    place = admin.post(SLOT + "/Certificates", body).headers["Location"]
    body["CertificateString"] += (certificates / "good.key").read_text()
    client = admin.post(admin.slot()["ClientCertificates"]["@odata.id"], body).headers["Location"]
    assert admin.post(SESSIONS, {"UserName": "admin", "Password": PASSWORDS["admin"]}).status == 201
    assert admin.post(INSERT, {"Image": nginx.url("image.iso"), "EjectPolicy": "Timed", "EjectTimeout": "PT1H"},
                      Prefer="respond-async").status == 202
    wait_for(lambda: admin.slot()["Inserted"], "the medium")
    assert admin.post(INSERT.replace("Slot_0", "Slot_1"), {"Image": nginx.url("nothing.iso")}).status == 400
    destination = {"Destination": "https://127.0.0.1:1/", "Protocol": "Redfish", "Context": "x", "ResourceTypes": ["Task"]}
    subscription = admin.post(SUBSCRIPTIONS, destination).headers["Location"]
    with Stream(admin):
        assert check_all(admin) >= set(TYPES) - {"MessageRegistry"} # which is no resource
    for user in ("operator", "reader"):
        check_all(Client(service, user))
    for form in (".", "*"):
        expanded = admin.get(f"{MEDIA}?$expand={form}").json
        assert not [f for member in expanded["Members"] for f in resource_faults(member, member["@odata.id"])]
    assert {admin.delete(made).status for made in (place, client, subscription)} == {204}


def test_the_properties_of_a_browser_s_medium(new_site):
    site = new_site()
    client = Client(site.daemon, "admin", "correct horse")
    browser = Browser(site.web("admin"), Image(bytes(100_000))).wait_serving()
    site.wait_state("slot0", "ready")
    check_all(client)
    browser.cut()
    check_all(client)
    assert client.post(EJECT).status == 204


def test_the_properties_of_a_system_with_a_host(own, folder):
    hook = Hook(folder)
    d = own(hook.key)
    d.ok("host status")
    client = Client(d, "admin")
    check_all(client)
    assert {"PowerState", "Boot", "Actions"} <= set(client.get("/redfish/v1/Systems/system").json)
    hook.does("exit 1")
    check_all(client)
