"""The web API: logins, slots, images by URL, tickets, events, the page's files."""
import base64
import gzip
import re
import subprocess
import threading

import pytest

from browser import Browser, Image, Refused, WebSocket
from conftest import TOP, wait_for
from liar import Liar, stall
from test_nbd import handle
from website import COOKIE, PASSWORDS, ROLES, AnswerReader, Events, accounts, new_site, passwd, shared_site, site  # noqa: F401 (fixtures)


@pytest.fixture(scope="module")
def shared(accounts, certificates):
    yield from shared_site(accounts, more=f"[http]\nca-file = {certificates}/ca.pem\n")


def basic(user, password=None):
    text = f"{user}:{PASSWORDS[user] if password is None else password}"
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


# --- logins ---


@pytest.mark.parametrize("user", [pytest.param("admin", marks=pytest.mark.smoke), "operator", "reader"])
def test_a_login_gives_a_session_and_its_cookies(site, user):
    web = site.web()
    answer = web.try_login(user, PASSWORDS[user])
    assert answer.status == 200 and answer.get("Cache-Control") == "no-store"
    body = answer.json()
    assert body == {"user": user, "role": ROLES[user], "csrf": body["csrf"], "endsIn": body["endsIn"],
                    "serves": {"media": [], "uploads": []}, "certificate": body["certificate"]}
    assert re.fullmatch("([0-9A-F]{2}:){31}[0-9A-F]{2}", body["certificate"]["sha256"]) and 86390 < body["endsIn"] <= 86400
    session, = answer.all("Set-Cookie")  # and none of bmcweb's names
    assert re.fullmatch(COOKIE + r"=[A-Za-z0-9_-]{43}; Path=/; Secure; HttpOnly; SameSite=Strict", session)
    site.pages.append(web.login(user))
    again = web.ok("GET", "/api/session").json()
    assert again == {**body, "csrf": web.csrf, "endsIn": again["endsIn"]}
    assert web.get("/api/slots").status == 200


def test_a_wrong_login_says_nothing_of_why(site):
    web = site.web(source="127.0.0.11")
    answers = [web.try_login(user, password) for user, password in (
        ("admin", "wrong"), ("nobody", "wrong"), ("gone", PASSWORDS["gone"]), ("admin\n", PASSWORDS["admin"]), ("", ""),
        ("admin", "x" * 3000))]
    assert {a.status for a in answers} == {401}
    assert len({a.body for a in answers}) == 1 and answers[0].error
    assert all(not a.all("Set-Cookie") for a in answers)
    assert "Basic" not in answers[0].get("WWW-Authenticate")
    assert "wrong" not in site.daemon.log() and PASSWORDS["gone"] not in site.daemon.log()


def test_a_login_that_is_none_is_a_bad_request(site):
    web = site.web()
    for body in (b"", b"{}", b"[]", b'{"user":"admin"}', b'{"user":1,"password":2}', b'{"user":"admin","user":"admin"}',
                 b"\xff", b'{"user":"a","password":"b"} x', b"[" * 3000):
        answer = web.ask("POST", "/api/session", body=body)
        assert answer.status == 400 and answer.error, (body, answer)


def test_many_wrong_passwords_lock_the_address_out(site):
    web = site.web(source="127.0.0.12")
    assert [web.try_login("operator", f"wrong {i}").status for i in range(5)] == 5 * [401]
    for password in ("wrong", PASSWORDS["operator"]):
        answer = web.try_login("operator", password)
        assert answer.status == 429 and 1 <= int(answer.get("Retry-After")) <= 30 and "try again" in answer.error
    assert web.get("/api/slots", headers=basic("operator")).status == 429
    assert site.web(source="127.0.0.13").login("operator").logout().status == 200  # nobody else is
    assert 'audit: login locked: user="operator" peer="127.0.0.12"' in site.daemon.log()


def test_without_a_login_there_is_nothing(site):
    web = site.web()
    for method, path in (("GET", "/api/slots"), ("GET", "/api/session"), ("DELETE", "/api/session"), ("GET", "/api/events"),
                         ("POST", "/api/slots/slot0/eject"), ("GET", "/api/uploads"), ("GET", "/api/none")):
        answer = web.ask(method, path)
        assert answer.status == 401 and answer.error == "Log in first.", (path, answer)
    web.cookies[site.web("reader").cookie] = "A" * 43
    assert web.get("/api/slots").status == 401
    assert web.get("/api/slots", headers={"X-Auth-Token": "A" * 43}).status == 401


def test_basic_is_for_scripts(site):
    web = site.web()
    assert web.get("/api/slots", headers=basic("reader")).status == 200
    assert web.post("/api/slots/slot0/eject", headers=basic("operator")).status == 200  # no cookie: no CSRF token needed
    assert web.get("/api/session", headers=basic("reader")).json() == {"user": "reader", "role": "ReadOnly"}
    assert web.ask("DELETE", "/api/session", headers=basic("reader")).status == 400
    for value in ("Basic", "Basic !!!!", "Basic " + base64.b64encode(b"nocolon").decode(), "Bearer x", "Basic " + "A" * 5000):
        assert web.get("/api/slots", headers={"Authorization": value}).status == 401


def test_changes_need_the_csrf_token(site):
    web, other = site.web("admin"), site.web("admin")
    right = web.csrf
    assert other.csrf != right
    for wrong in (None, "", "x", "A" * 43, other.csrf, right[:-1], right + "x"):
        headers = {"X-CSRF-Token": wrong}
        assert web.post("/api/slots/slot0/eject", headers=headers).status == 403
        assert web.ask("DELETE", "/api/session", headers=headers).status == 403
    web.csrf = None
    assert web.get("/api/slots").status == 200
    web.csrf = right
    assert web.eject("slot0").status == 200


def test_a_page_of_another_site_changes_nothing(site):
    web = site.web("admin")
    for origin in ("https://evil.example", "null", "http://127.0.0.1", web.origin.replace("https", "http"), web.origin + "0"):
        assert web.post("/api/slots/slot0/eject", headers={"Origin": origin}).status == 403
        assert site.web().try_login("admin", PASSWORDS["admin"]).status == 200
        assert site.web().post("/api/session", {"user": "admin", "password": PASSWORDS["admin"]},
                               headers={"Origin": origin}).status == 403
    assert web.post("/api/slots/slot0/eject", headers={"Origin": web.origin}).status == 200


@pytest.mark.smoke
def test_logout_ends_the_session_and_its_medium(site):
    web = site.web("admin")
    browser = Browser(web, Image(bytes(5000))).wait_serving()
    cookies = dict(web.cookies)
    answer = web.logout()
    assert answer.status == 200 and all("Max-Age=0" in c for c in answer.all("Set-Cookie"))
    assert browser.wait_end(5) == 1008 and "login" in browser.reason
    site.wait_state("slot0", "empty", 5)
    web.cookies = cookies
    assert web.get("/api/slots").status == 401
    assert 'audit: logout: user="admin"' in site.daemon.log()


def test_an_idle_session_ends_and_a_used_one_does_not(new_site, folder):
    """One that serves a medium, has a page open, or uploads for longer than it may be idle."""
    site = new_site(keys={"session-idle": "10s", "upload-directory": folder / "store"})
    idle, page, server, uploader = site.web("reader"), site.web("operator"), site.web("admin"), site.web("operator")
    browser = Browser(server, Image(bytes(5000))).wait_serving()
    events = Events(page)
    assert events.next()
    upload = uploader.connect()
    upload.sendall(uploader.text("PUT", "/api/uploads/x.iso", {"Content-Length": "2000"}) + bytes(1000))
    wait_for(lambda: 'audit: session ended: user="reader"' in site.daemon.log(), "the idle session's end", 60)
    assert idle.get("/api/slots").status == 401
    upload.sendall(bytes(1000))
    assert AnswerReader(upload).next().status == 201
    assert {web.get("/api/slots").status for web in (server, page, uploader)} == {200}
    assert not browser.ended.is_set()
    upload.close()
    events.close()
    browser.stop()


def test_what_is_served_outlives_the_age_of_its_login(new_site, folder):
    """The session says what goes on by it and when it is over; who logs in again before keeps it, who does not his medium."""
    site = new_site(keys={"session-age": "10s", "upload-directory": folder / "store"})
    renewed, left = site.web("admin"), site.web("operator")
    browsers = [Browser(renewed, Image(bytes(5000)), "slot0", name="a.iso").wait_serving(),
                Browser(left, Image(bytes(5000)), "slot1", name="b.img").wait_serving()]
    assert renewed.ask("PUT", "/api/uploads/x.iso", headers={"Content-Range": "bytes 0-999/2000"}, body=bytes(1000)).status == 200
    told = renewed.get("/api/session").json()
    assert told["serves"] == {"media": [{"slot": "slot0", "name": "a.iso"}], "uploads": ["x.iso"]} and told["endsIn"] <= 10
    assert left.get("/api/session").json()["serves"] == {"media": [{"slot": "slot1", "name": "b.img"}], "uploads": []}
    before = renewed.csrf
    again = renewed.ask("POST", "/api/session", {"user": "admin", "password": PASSWORDS["admin"]}).json()
    assert again["serves"]["media"] == told["serves"]["media"] and again["endsIn"] >= told["endsIn"] and again["csrf"] != before
    wait_for(lambda: site.daemon.log().count('audit: session ended: user="operator"') == 1, "the session's end", 60)
    assert left.get("/api/slots").status == 401
    wait_for(lambda: site.daemon.log().count('audit: session ended: user="admin"') == 1, "the other's end", 60)
    for slot in ("slot0", "slot1"):
        h = handle(site.uri(slot))
        assert h.pread(1000, 0) == bytes(1000)
        h.shutdown()
    assert not any(b.ended.is_set() for b in browsers)
    passwd(site.users, "--disable", "operator")
    assert browsers[1].wait_end(20) == 1008 and not browsers[0].ended.is_set()  # its right went with the account
    browsers[0].stop()


# --- slots ---


def test_the_list_of_slots(site):
    web = site.web("reader")
    slot = web.slot()
    assert slot == {"name": "slot0", "index": 0, "media": "cd", "state": "empty", "image": "", "imageName": "", "size": 0,
                    "writable": False, "connectedVia": "none", "error": slot["error"], "warning": "", "awaited": None,
                    "failing": False, "hostWaits": None, "failedReads": None, "websocket": "/nbd/0", "errorAt": slot["errorAt"], "by": "", "written": 0, "writtenStays": False,
                    "stats": slot["stats"]}
    assert set(slot["stats"]) == {"readBytes", "bytes", "meanRate", "reads", "readsWaited", "rttUs", "cached"}
    assert web.slot("slot1")["media"] == "disk" and web.slot("slot1")["index"] == 1


def test_how_a_boot_went_and_what_it_read(site, nginx, www):
    web = site.web("operator")
    (www / "given.json").write_text('{"profile": 1, "size": 6000123, "cluster": 65536, "runs": [[5, 1, 0], [40, 9, 7]]}')
    assert web.get("/api/slots/slot1/profile").status == 404 and web.get("/api/slots/nowhere/report").status == 404
    for profile in ("never", "/etc/passwd", "file:///etc/passwd", "upload:x"):
        assert "boot profile" in web.insert("slot0", nginx.url("image.iso"), profile=profile).error
    assert web.insert("slot0", nginx.url("image.iso"), profile=nginx.url("given.json")).status == 200
    wait_for(lambda: web.get("/api/slots/slot0/profile").status == 200, "the profile that was given")
    assert web.get("/api/slots/slot0/profile").json()["runs"] == [[5, 1, 0], [40, 9, 7]]
    handle(site.uri()).pread(5000, 1000)
    assert web.get("/api/slots/slot0/medium").body == (www / "image.iso").read_bytes()  # not read by the host
    assert web.eject("slot0").status == 200
    report = web.get("/api/slots/slot0/report").json()["report"]
    assert report["ended"] and report["image"] == "image.iso" and report["host"]["bytes"] == 5000
    assert web.insert("slot0", nginx.url("image.iso")).status == 200
    assert len(web.get("/api/slots/slot0/medium").body) == 6000123
    assert web.get("/api/slots/slot0/profile").status == 404


@pytest.mark.smoke
def test_insert_by_url_and_eject(site, nginx, www):
    web = site.web("operator")
    url = nginx.url("image.iso?token=CANARY")
    assert web.insert("slot0", url).status == 200
    slot = web.slot()
    assert (slot["state"], slot["imageName"], slot["size"], slot["connectedVia"]) == ("ready", "image.iso", 6000123, "uri")
    assert "CANARY" not in slot["image"] and slot["image"].endswith("/image.iso?...")
    assert handle(site.uri()).pread(5000, 1000) == (www / "image.iso").read_bytes()[1000:6000]
    assert web.slot()["stats"]["readBytes"] == 5000
    heat = web.get("/api/slots/slot0/heat").json()
    assert heat["size"] == 6000123 and len(heat["buckets"]) > 10 and max(heat["buckets"]) <= 255
    assert heat["buckets"][0] > 0 and heat["buckets"][-1] == 0
    assert web.insert("slot0", url).status == 409 and "eject it first" in web.insert("slot0", url).error
    assert web.insert("slot1", url).status == 200
    assert web.eject("slot0").status == 200
    assert web.slot()["state"] == "empty" and web.slot("slot1")["state"] == "ready"
    assert web.get("/api/slots/slot0/heat").json()["size"] == 0
    assert web.eject("0").status == 200  # by its number, and empty: well
    assert "CANARY" not in site.daemon.log()
    assert re.search(r'audit: insert: user="operator" peer="127.0.0.1" subject="slot0" detail="https://', site.daemon.log())


def test_insert_with_credentials(site, nginx):
    web = site.web("admin")
    url = nginx.url("auth/image.iso")
    assert "401 Unauthorized" in web.insert("slot0", url).error
    answer = web.insert("slot0", url, user="alice", password="WRONG-CANARY")
    assert answer.status == 502 and "401 Unauthorized" in answer.error
    assert web.slot()["error"] and web.slot()["state"] == "empty"
    assert web.insert("slot0", url, user="alice", password="CANARY-PASSWORD", verify=True, writable=False).status == 200
    assert handle(site.uri()).get_size() == 6000123
    shown = web.get("/api/slots").body.decode() + site.daemon.log() + "".join(site.daemon.ok("status --json"))
    assert "CANARY" not in shown


@pytest.mark.parametrize("what,status,words", [
    ({"url": "{nginx}nothing.iso"}, 400, "404 Not Found"),
    ({"url": "{wrong}image.iso"}, 502, "certificate"),
    ({"url": "https://no-such-host.invalid/x"}, 502, "host's name"),
    ({"url": "https://127.0.0.1:1/x"}, 502, "host and port"),
    ({}, 400, "url"), ({"url": ""}, 400, "url"), ({"url": 5}, 400, "url"), ({"url": None}, 400, "url"),
    ({"url": "/etc/passwd"}, 400, "file-directory"), ({"url": "file:///etc/passwd"}, 400, "file-directory"),
    ({"url": "FILE:///etc/passwd"}, 400, "file-directory"),
    ({"url": "upload:x"}, 400, "upload-directory"),
    ({"url": "tftp://127.0.0.1/x"}, 400, ""), ({"url": "x.iso"}, 400, ""), ({"url": "https://u:p@127.0.0.1/x"}, 400, "user"),
    ({"url": "{nginx}" + "x" * 9000}, 400, "too long"),
    ({"url": "{nginx}image.iso", "writable": True}, 400, "writ"),
])
def test_a_refused_insert_says_why(site, nginx, what, status, words):
    web = site.web("admin")
    if isinstance(what.get("url"), str):
        what = {**what, "url": what["url"].replace("{nginx}", nginx.url("")).replace("{wrong}", nginx.url("", "wrong"))}
    answer = web.post("/api/slots/slot0/insert", what)
    assert answer.status == status and words in answer.error, answer
    assert web.slot()["state"] == "empty"


def test_files_of_a_folder_that_is_allowed(new_site, folder):
    (folder / "images").mkdir()
    (folder / "images" / "good.iso").write_bytes(b"x" * 5000)
    (folder / "images" / "link.iso").symlink_to("/etc/passwd")
    (folder / "secret.iso").write_bytes(b"x" * 5000)
    web = new_site(more=f"[daemon]\nfile-directory = {folder}/images\n").web("operator")
    for path in (f"{folder}/secret.iso", f"{folder}/images/../secret.iso", f"{folder}/images/link.iso", f"{folder}/images/none.iso",
                 f"{folder}/images", f"file://{folder}/secret.iso", f"file://{folder}/images/%2e%2e/secret.iso"):
        answer = web.insert("slot0", path)
        assert answer.status == 400 and answer.error, (path, answer)
    assert web.insert("slot0", f"file://{folder}/images/good.iso").status == 200 and web.slot()["imageName"] == "good.iso"


def test_only_an_administrator_inserts_unverified(site, nginx):
    url = nginx.url("image.iso", "wrong")
    answer = site.web("operator").insert("slot0", url, verify=False)
    assert answer.status == 400 and "Administrator" in answer.error
    assert site.web("admin").insert("slot0", url, verify=False).status == 200


def test_an_eject_ends_an_insert_that_takes_long(site):
    liar = Liar(bytes(100000))
    liar.behaviour = stall
    web, answers = site.web("admin"), []
    thread = threading.Thread(target=lambda: answers.append(web.insert("slot0", liar.url())))
    thread.start()
    site.wait_state("slot0", "opening")
    assert web.slot()["state"] == "opening"
    assert web.eject("slot0").status == 200
    thread.join(30)
    liar.stop()
    assert answers[0].status == 409 and "ejected" in answers[0].error


def test_wrong_paths_and_methods(site):
    web = site.web("admin")
    for path in ("/api", "/api/", "/api/none", "/api/slots/slot0", "/api/slots/slot0/none", "/api/slots/nowhere/heat",
                 "/api/slots/7/heat", "/api/a/b/c/d/e/f/g/h", "/api/slots/slot0/heat/x"):
        answer = web.get(path)
        assert answer.status == 404 and answer.error, (path, answer)
    assert web.insert("nowhere", "https://h/x").status == 404
    for method, path, allowed in (("POST", "/api/slots", "GET, HEAD"), ("GET", "/api/slots/slot0/insert", "POST"),
                                  ("PUT", "/api/session", "GET, HEAD, POST, DELETE")):
        answer = web.ask(method, path)
        assert answer.status == 405 and answer.get("Allow") == allowed
    head = web.ask("HEAD", "/api/slots")
    assert head.status == 200 and not head.body and int(head.get("Content-Length")) > 100


# --- tickets ---

IDENTITY = {"name": "disk.iso", "size": 5000, "lastModified": 1700000000000, "samples": ["00" * 32]}


def test_a_ticket_is_for_one_connection(site):
    web = site.web("operator")
    ticket = web.ticket("slot0", IDENTITY).json()
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", ticket["protocol"])
    assert re.fullmatch(r"/nbd/0\?image=[0-9a-f]{64}&name=disk\.iso", ticket["url"])
    socket = WebSocket(web, ticket["url"], ticket["protocol"])
    assert socket.protocol == ticket["protocol"]
    socket.wire.cut()
    site.wait_state("slot0", "empty")
    with pytest.raises(Refused) as caught:
        WebSocket(web, ticket["url"], ticket["protocol"])
    assert caught.value.answer.status == 401


def test_a_ticket_is_bound_to_its_slot_and_file(site):
    web = site.web("operator")
    for change in (lambda url: url.replace("/nbd/0", "/nbd/1"), lambda url: url.replace("disk.iso", "other.iso"),
                   lambda url: re.sub("image=.", "image=g", url), lambda url: url.split("?")[0],
                   lambda url: url.split("&")[0], lambda url: url + "x", lambda url: url.replace("name=", "name=%0")):
        ticket = web.ticket("slot0", IDENTITY).json()
        with pytest.raises(Refused) as caught:
            WebSocket(web, change(ticket["url"]), ticket["protocol"])
        assert caught.value.answer.status == 401
        with pytest.raises(Refused):  # and it is used up
            WebSocket(web, ticket["url"], ticket["protocol"])
    ticket = web.ticket("slot0", IDENTITY).json()
    WebSocket(web, ticket["url"].replace("/nbd/0", "/nbd/slot0"), ticket["protocol"], cookies=False).wire.close()


def test_a_ticket_ends_with_its_session(site):
    web = site.web("operator")
    ticket = web.ticket("slot0", IDENTITY).json()
    web.logout()
    with pytest.raises(Refused) as caught:
        WebSocket(web, ticket["url"], ticket["protocol"])
    assert caught.value.answer.status == 401


def test_only_a_few_unused_tickets_are_kept(site):
    web = site.web("operator")
    tickets = [web.ticket("slot0", IDENTITY).json() for _ in range(9)]
    with pytest.raises(Refused):
        WebSocket(web, tickets[0]["url"], tickets[0]["protocol"])
    WebSocket(web, tickets[8]["url"], tickets[8]["protocol"]).wire.close()


def test_who_asks_for_a_ticket_must_say_what_for(site):
    web = site.web("operator")
    for change in ({"name": None}, {"name": 5}, {"size": 0}, {"size": -1}, {"size": 1.5}, {"size": "5"}, {"lastModified": None},
                   {"samples": None}, {"samples": ["x"] * 65}, {"samples": {}}):
        answer = web.ticket("slot0", {**IDENTITY, **change})
        assert answer.status == 400 and answer.error, change
    assert web.ticket("nowhere", IDENTITY).status == 404
    assert web.post("/api/slots/slot0/ticket", IDENTITY, headers=basic("operator"), cookies=False).status == 403


def test_the_name_may_be_any(site):
    web = site.web("operator")
    for name in ("ä ö.iso", "a&b=c?d#e", "100%.iso", "x" * 1000, "日本.iso", "\u202eosi.exe"):
        browser = Browser(web, Image(bytes(5000)), name=name).wait_serving()
        wait_for(lambda: web.slot()["state"] == "ready", "the medium")
        shown = web.slot()["imageName"]
        assert shown and (shown == name or len(name) > 100), shown
        assert web.slot()["connectedVia"] == "applet"
        browser.stop()
        browser.wait_end()
        site.wait_state("slot0", "empty")


# --- events ---


@pytest.mark.smoke
def test_events_come_at_once_and_after_changes(site, nginx):
    web = site.web("admin")
    events = Events(web)
    assert events.answer.get("Content-Type") == "text/event-stream" and events.answer.get("Cache-Control") == "no-store, no-transform"
    assert events.answer.get("X-Accel-Buffering") == "no"
    assert events.next()["slot0"]["state"] == "empty"
    assert web.insert("slot0", nginx.url("image.iso")).status == 200
    assert events.wait(lambda slots: slots["slot0"]["state"] == "ready")["slot0"]["imageName"] == "image.iso"
    assert web.eject("slot0").status == 200
    events.wait(lambda slots: slots["slot0"]["state"] == "empty")
    web.logout()
    assert events.next() is None
    events.close()


def test_events_are_for_sixteen(site):
    web = site.web("reader")
    all_events = [Events(web) for _ in range(16)]
    assert all(e.next() for e in all_events)
    refused = Events(web)
    assert refused.answer.status == 503 and int(refused.answer.get("Retry-After")) > 0 and refused.answer.error
    all_events.pop().close()
    all_events.pop().wire.cut()

    def accepted():
        events = Events(web)
        if events.answer.status == 200:
            all_events.append(events)
        return events.answer.status == 200

    wait_for(accepted, "a free place")
    assert all_events[-1].next()
    for events in all_events:
        events.close()
    assert web.ask("HEAD", "/api/events").get("Content-Type") == "text/event-stream"


# --- the page's files ---


@pytest.fixture(scope="module")
def pages(accounts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    (folder / "index.html").write_text("<!doctype html><title>x</title>")
    (folder / "app.js").write_text("export const x = 1;\n" * 500)
    (folder / "style.css").write_text("body {}\n")
    (folder / "icon.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder / "secret.txt").write_text("secret")
    (folder / ".hidden.js").write_text("secret")
    (folder / "package.json").write_text("secret")
    (folder / "large.js").write_bytes(b"x" * 300_000)
    for path in folder.iterdir():
        path.chmod(0o644)
    yield from shared_site(accounts, keys={"web-directory": folder})


def test_page_files_have_their_type_and_a_validator(pages):
    web = pages.web()
    for path, kind in (("/", "text/html; charset=utf-8"), ("/index.html", "text/html; charset=utf-8"),
                       ("/app.js", "text/javascript; charset=utf-8"), ("/style.css", "text/css; charset=utf-8"),
                       ("/icon.svg", "image/svg+xml")):
        answer = web.ok("GET", path)
        assert answer.get("Content-Type") == kind and answer.get("Cache-Control") == "no-cache"
        etag = answer.get("ETag")
        assert re.fullmatch(r'"[!-~]+"', etag)
        again = web.get(path, headers={"If-None-Match": etag})
        assert again.status == 304 and not again.body and again.get("ETag") == etag
        assert web.get(path, headers={"If-None-Match": '"x"'}).status == 200
        head = web.ask("HEAD", path)
        assert head.status == 200 and head.get("Content-Length") == answer.get("Content-Length")
    assert web.get("/app.js").body == (pages_folder(pages) / "app.js").read_bytes()
    packed = web.get("/app.js", headers={"Accept-Encoding": "gzip"})
    if packed.get("Content-Encoding") == "gzip":
        assert gzip.decompress(packed.body) == (pages_folder(pages) / "app.js").read_bytes()


def pages_folder(site):
    return site.keys["web-directory"]


def test_page_files_carry_what_keeps_a_browser_safe(pages):
    for path, status in (("/", 200), ("/none.js", 404)):
        answer = pages.web().get(path)
        assert answer.status == status
        policy = answer.get("Content-Security-Policy")
        assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert answer.get("X-Content-Type-Options") == "nosniff" and answer.get("Referrer-Policy") == "no-referrer"
        assert re.fullmatch(r"max-age=\d+", answer.get("Strict-Transport-Security"))
        assert not answer.all("Access-Control-Allow-Origin")


def test_nothing_but_the_page_is_served(pages):
    web = pages.web()
    for path in ("/secret.txt", "/.hidden.js", "/package.json", "/large.js", "/../users", "/%2e%2e/users", "/..%2fusers", "//etc/passwd",
                 "/app.js/", "/app.js/x", "/index.html%00", "/APP.JS", "/nbd", "/vm/0"):
        assert web.get(path).status in (400, 404), path
    assert web.ask("POST", "/").status in (404, 405)
    assert web.ask("DELETE", "/app.js").status in (404, 405)


def test_pages_are_read_again_at_a_reload(pages):
    (pages_folder(pages) / "index.html").write_text("<!doctype html><title>new</title>")
    assert pages.web().get("/").body.count(b"new") == 0
    assert pages.reload()[-1].startswith("ok")
    assert b"new" in pages.web().get("/").body


def test_the_page_as_it_is_installed(new_site):
    web = new_site(keys={"web-directory": TOP / "web"}).web()
    page = web.ok("GET", "/").body.decode()
    names = re.findall(r'(?:src|href)="\.?/?([\w.-]+)"', page)
    assert "app.js" in names and not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", page)
    seen = set()
    while names:
        name = names.pop()
        if name not in seen:
            seen.add(name)
            names += re.findall(r"from '\./([\w.-]+)'", web.ok("GET", f"/{name}").body.decode())
    assert {"api.js", "nbd-server.js", "style.css"} <= seen


def test_other_peoples_clients_get_an_answer(site):
    """curl, as a script uses it."""
    web = site.web()
    run = subprocess.run(["curl", "-sk", "-u", f"reader:{PASSWORDS['reader']}", f"{web.origin}/api/slots"], capture_output=True,
                         text=True, timeout=60, check=True)
    assert '"slots"' in run.stdout
