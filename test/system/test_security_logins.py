"""Logins over Redfish and /api: what lets nobody in, what ends them, and what they tell a guesser."""
import http.client
import json
import ssl
import statistics
import time

import pytest

from browser import Browser, Image, WebSocket
from conftest import SANITIZED
from redfish_client import ACCOUNTS, SESSIONS, SLOT, Client, port_of
from test_web_security import EXPECTED, SLOTS, refused
from website import PASSWORDS, accounts, new_site, shared_site, site  # noqa: F401 (fixtures)

SECOND = 5 if SANITIZED else 1


@pytest.fixture(scope="module")
def shared(accounts):
    yield from shared_site(accounts, slots=SLOTS)


def redfish(site, user=None, token=None):
    return Client(site.daemon, user, PASSWORDS.get(user), token)


def log_in(site, user, password=None, source=None):
    """The answer, from an address of one's own if wanted."""
    connection = http.client.HTTPSConnection("127.0.0.1", port_of(site.daemon), timeout=60, context=ssl._create_unverified_context(),
                                             source_address=(source, 0) if source else None)
    try:
        connection.request("POST", SESSIONS, json.dumps({"UserName": user, "Password": password or PASSWORDS[user]}),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


# --- who says that he is somebody else ---

SPOOFS = [("X-Server-Addr", "127.0.0.1"), ("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Host", "localhost"),
          ("X-Forwarded-User", "admin"), ("Forwarded", "for=127.0.0.1;proto=https"), ("X-Real-IP", "::1"), ("Host", "127.0.0.1"),
          ("Host", "169.254.0.17"), ("Host", ""), ("X-Original-URL", "/"), ("X-Rewrite-URL", "/redfish"), ("X-Remote-User", "admin"),
          ("X-SSL-Client-CN", "admin"), ("X-HTTP-Method-Override", "GET")]


def test_nobody_is_let_in_by_a_header(site):
    web = site.web()
    rows = [(method, path, body) for (method, _), (who, path, body) in EXPECTED.items() if not who[None]]
    assert len(rows) > 10
    for method, path, body in rows:
        for name, value in SPOOFS:
            answer = web.ask(method, path, body, {name: value}, body=b"data" if method == "PUT" else b"")
            assert answer.status == 401 or (name, value, answer.status) == ("Host", "", 400), (method, path, name, answer)
    for path in ("/nbd/0", "/nbd/slot1", "/vm/0/0"):
        for name, value in SPOOFS:
            assert refused(web, path, None, {name: value}) in (400, 401, 403), (path, name)
    text = web.text("GET", SLOT)
    assert web.raw(text.replace(b"\r\n\r\n", b"\r\nHost: 127.0.0.1\r\n\r\n")).status == 400


# --- what ends a login ---


def delete_sessions(admin):
    for member in admin.get(SESSIONS).json["Members"]:
        if admin.get(member["@odata.id"]).json["UserName"] == "operator":
            assert admin.delete(member["@odata.id"]).status == 204


ENDS = {
    "disabled": lambda admin: admin.patch(f"{ACCOUNTS}/operator", {"Enabled": False}),
    "another role": lambda admin: admin.patch(f"{ACCOUNTS}/operator", {"RoleId": "ReadOnly"}),
    "another password": lambda admin: admin.patch(f"{ACCOUNTS}/operator", {"Password": "something else entirely"}),
    "deleted": lambda admin: admin.delete(f"{ACCOUNTS}/operator"),
    "sessions deleted": delete_sessions,
}


@pytest.mark.plain
@pytest.mark.parametrize("how", ENDS)
def test_a_change_over_redfish_ends_what_the_account_has_open(new_site, how):
    """Sessions that went on after their account was disabled."""
    site = new_site(slots=SLOTS)
    admin, web, other = redfish(site, "admin"), site.web("operator"), site.web("admin")
    token = log_in(site, "operator")[1]["X-Auth-Token"]
    page = Browser(web, Image(bytes(5000)), "slot0").wait_serving()
    script = Browser(web, Image(bytes(5000)), "slot1", begin=False)
    script.socket = WebSocket(web, "/nbd/slot1", headers={"X-Auth-Token": token}, cookies=False)
    script.begin()
    for slot in SLOTS:
        site.wait_state(slot, "ready")
    assert redfish(site, token=token).get(SLOT).status == 200
    ENDS[how](admin)
    began = time.monotonic()
    for browser in (page, script):
        assert browser.wait_end(SECOND) == 1008
    assert redfish(site, token=token).get(SLOT).status == 401 and web.get("/api/slots").status == 401
    assert time.monotonic() - began < SECOND
    for slot in SLOTS:
        site.wait_state(slot, "empty", 10)
    assert other.get("/api/slots").status == 200 and admin.get(SLOT).status == 200


# --- what they tell ---


@pytest.mark.plain
def test_a_guess_takes_as_long_whether_there_is_such_an_account(site):
    times = {"admin": [], "no-such-user": []}
    for i in range(8 if SANITIZED else 16):
        for user, taken in times.items():
            began = time.monotonic()
            status, _, body = log_in(site, user, "wrong-password", f"127.0.7.{i + 1}")
            taken.append(time.monotonic() - began)
            assert status == 401 and b"wrong-password" not in body and user.encode() not in body
    known, unknown = (statistics.median(taken) for taken in times.values())
    assert 0.5 < known / unknown < 2, times


def test_logins_are_bounded_and_those_in_use_stay(site):
    answers = [log_in(site, "reader") for _ in range(12)]
    statuses = [status for status, _, _ in answers]
    assert statuses == 8 * [201] + 4 * [503], statuses
    tokens = [headers["X-Auth-Token"] for status, headers, _ in answers if status == 201]
    assert len(set(tokens)) == 8 and all(len(token) == 43 for token in tokens)
    assert all(redfish(site, token=token).get(SLOT).status == 200 for token in tokens)
    assert log_in(site, "admin")[0] == 201
    admin = redfish(site, "admin")
    members = [m["@odata.id"] for m in admin.get(SESSIONS).json["Members"]]
    assert sum(admin.get(m).json["UserName"] == "reader" for m in members) == 8
    for member in members:
        assert admin.delete(member).status == 204
    assert [redfish(site, token=token).get(SLOT).status for token in tokens] == 8 * [401]


def test_a_locked_account_is_not_told_from_one_that_is_none(site):
    answers = {user: [log_in(site, user, "wrong-password", "127.0.8.1" if user == "operator" else "127.0.8.2")[::2]
                      for _ in range(7)] for user in ("operator", "no-such-user")}
    assert [status for status, _ in answers["operator"]] == [status for status, _ in answers["no-such-user"]]
    assert answers["operator"][0] == answers["no-such-user"][0] and answers["operator"][-1][0] == 429
