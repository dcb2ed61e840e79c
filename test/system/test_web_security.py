"""Attacks that other management controllers fell to, against the real daemon. Each test names what it is about."""
import base64
import json
import os
import pathlib
import re
import socket
import ssl
import struct

import pytest

from browser import BINARY, GREETING, Browser, Image, Refused, WebSocket, frame, upgrade_fields
from conftest import SANITIZED, TOP, binary, wait_for
from test_nbd import handle
from website import (COOKIE, PASSWORDS, AnswerReader, Events, Web, accounts, new_site, passwd,  # noqa: F401 (fixtures)
                     shared_site, site, tls_context)

SLOTS = {"slot0": {"reconnect-grace": "0s"}, "slot1": {"reconnect-grace": "60s", "media": "disk"}}


@pytest.fixture(scope="module")
def shared(accounts):
    yield from shared_site(accounts, slots=SLOTS, keys={"listen-plain": "127.0.0.1:0"})


def alive(site):
    """Nothing of an attack harms the next client."""
    assert site.web().get("/api/slots").status == 401


def fds(site):
    return len(os.listdir(f"/proc/{site.daemon.process.pid}/fd"))


def refused(web, *arguments, **more):
    with pytest.raises(Refused) as caught:
        WebSocket(web, *arguments, **more)
    return caught.value.answer.status


# --- who may ---

ANYONE = {None: True, "reader": True, "operator": True, "admin": True}
LOGIN = {None: False, "reader": True, "operator": True, "admin": True}
COMPONENTS = {None: False, "reader": False, "operator": True, "admin": True}
# (method, path) as in routes[] of router.c, and what is outside of it: who may, the path, the body.
EXPECTED = {
    ("GET", "/api/slots"): (LOGIN, "/api/slots", None),
    ("GET", "/api/slots/*/heat"): (LOGIN, "/api/slots/slot0/heat", None),
    ("GET", "/api/slots/*/report"): (LOGIN, "/api/slots/slot0/report", None),
    ("GET", "/api/slots/*/profile"): (LOGIN, "/api/slots/slot0/profile", None),
    ("GET", "/api/slots/*/medium"): (COMPONENTS, "/api/slots/slot0/medium", None),
    ("POST", "/api/slots/*/insert"): (COMPONENTS, "/api/slots/slot0/insert", {}),
    ("POST", "/api/slots/*/eject"): (COMPONENTS, "/api/slots/slot0/eject", {}),
    ("POST", "/api/slots/*/ticket"): (COMPONENTS, "/api/slots/slot0/ticket", {}),
    ("POST", "/api/slots/*/dismiss"): (COMPONENTS, "/api/slots/slot0/dismiss", {}),
    ("GET", "/api/events"): (LOGIN, "/api/events", None),
    ("GET", "/api/uploads"): (LOGIN, "/api/uploads", None),
    ("GET", "/api/uploads/*"): (COMPONENTS, "/api/uploads/x", None),
    ("POST", "/api/uploads/*"): (COMPONENTS, "/api/uploads/x", {}),
    ("HEAD", "/api/uploads/*"): (LOGIN, "/api/uploads/x", None),
    ("PUT", "/api/uploads/*"): (COMPONENTS, "/api/uploads/x", None),
    ("DELETE", "/api/uploads/*"): (COMPONENTS, "/api/uploads/x", None),
    ("GET", "/api/session"): (LOGIN, "/api/session", None),
    ("DELETE", "/api/session"): (LOGIN, "/api/session", None),
    ("GET", "/"): (ANYONE, "/", None),
}


def test_every_route_is_in_the_table_of_expectations():
    source = (TOP / "src/api/web/router.c").read_text()
    table = source[source.index("routes[] = {") : source.index("#define ROUTES")]
    rows = re.findall(r'\{(NULL|"\w+"), "([^"]+)", (\w+), (\w+)\}', table)
    assert len(rows) == table.count("{") - 1 and rows
    for method, path, privileges, _ in rows:
        if method != "NULL":
            who = EXPECTED[(method.strip('"'), path)][0]
            assert who is {"AUTH_LOGIN": LOGIN, "AUTH_CONFIGURE_COMPONENTS": COMPONENTS}[privileges], path
    methods = re.findall(r'\{"(\w+)", (true|false), (AUTH_\w+), \w+\}', (TOP / "src/api/web/uploads.c").read_text())
    assert methods
    for method, on_one, privileges in methods:
        key = (method, "/api/uploads/*" if on_one == "true" else "/api/uploads")
        if key != ("HEAD", "/api/uploads"):
            assert EXPECTED[key][0] is {"AUTH_LOGIN": LOGIN, "AUTH_CONFIGURE_COMPONENTS": COMPONENTS}[privileges]
    known = {path for _, path, _, _ in rows} | {"/api/session", "/"}
    assert known == {path for _, path in EXPECTED}


def test_each_route_for_each_role(new_site, folder):
    site = new_site(slots=SLOTS, keys={"upload-directory": folder / "store"})
    clients = {None: site.web(), **{user: site.web(user) for user in ("reader", "operator", "admin")}}
    for (method, _), (who, path, body) in EXPECTED.items():
        for user, web in clients.items():
            if method == "DELETE" and path == "/api/session" and user:
                web = site.web(user)
            if path == "/api/events" and who[user]:
                events = Events(web)
                assert events.answer.status == 200
                events.close()
                continue
            status = web.ask(method, path, body, body=b"data" if method == "PUT" else b"").status
            expected = status not in (401, 403) if who[user] else status == (403 if user else 401)
            assert expected, (method, path, user, status)
    for user, web in clients.items():
        for path in ("/nbd/0", "/nbd/slot1", "/vm/0/0"):
            headers = {} if user is None else {"Sec-WebSocket-Protocol": web.csrf}
            if user in ("operator", "admin"):
                WebSocket(web, path, web.csrf).wire.cut()
                site.wait_state("slot1" if "slot1" in path else "slot0", "empty")
            else:
                assert refused(web, path, None, headers) == (403 if user else 401)


def test_a_websocket_is_not_opened_by_another_site(site):
    """Cross-site WebSocket hijacking."""
    web, other = site.web("admin"), site.web("operator")
    assert refused(web, "/nbd/0") == 401  # the cookie alone
    host = web.host
    for origin in ("https://evil.example", "null", f"https://evil.{host}", f"https://{host}0", f"http://{host}", "https://127.0.0.1",
                   f"https://{host}.evil.example", f"https://{host}/", f"https://x@{host}", "", f"https://{host} https://evil.example"):
        assert refused(web, "/nbd/0", web.csrf, {"Origin": origin}) in (400, 403), origin
    for protocol in (None, "x", other.csrf, web.csrf[:-1], web.csrf + "x", f"{web.csrf}, x", f"x, {web.csrf}", web.csrf.swapcase(),
                     web.cookies[web.cookie]):
        assert refused(web, "/nbd/0", protocol) == 401, protocol
    WebSocket(web, "/nbd/0", web.csrf).wire.cut()
    site.wait_state("slot0", "empty")
    WebSocket(web, "/nbd/0", web.csrf, origin=False).wire.cut()  # no browser at all
    assert not re.search(r"insert.*evil", site.daemon.log())


# --- the cookie of a Redfish login, for OpenBMC's page ---

SLOT = "/redfish/v1/Managers/bmc/VirtualMedia/Slot_0"
EJECT = SLOT + "/Actions/VirtualMedia.EjectMedia"


def redfish_page(site, user="admin", headers=("X-Requested-With",)):
    """As webui-vue logs in. The cookies are the client's; its CSRF token it sends by itself."""
    web = Web(site.address())
    answer = web.post("/redfish/v1/SessionService/Sessions", {"UserName": user, "Password": PASSWORDS[user]},
                      headers={name: "XMLHttpRequest" for name in headers})
    assert answer.status == 201
    web.cookies = dict(cookie.split(";")[0].split("=", 1) for cookie in answer.all("Set-Cookie"))
    return web, answer


def test_the_cookies_of_a_redfish_login(site):
    web, answer = redfish_page(site)
    session, xsrf = answer.all("Set-Cookie")
    assert session == f"SESSION={answer.get('X-Auth-Token')}; Path=/; Secure; HttpOnly; SameSite=Strict"
    assert re.fullmatch("XSRF-TOKEN=[A-Za-z0-9_-]{43}; Path=/; Secure; SameSite=Strict", xsrf)
    assert not redfish_page(site, headers=())[1].all("Set-Cookie")
    right = {"X-XSRF-TOKEN": web.cookies["XSRF-TOKEN"]}
    assert web.get(SLOT, headers=right).status == 200 and web.get("/api/slots", headers=right).status == 200
    assert web.post(EJECT, headers=right).status == 204
    place = answer.get("Location")
    gone = web.ask("DELETE", place, headers=right)
    assert gone.status == 204 and gone.all("Set-Cookie") == ["SESSION=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0",
                                                             "XSRF-TOKEN=; Path=/; Secure; SameSite=Strict; Max-Age=0"]
    assert web.get(SLOT, headers=right).status == 401


def test_the_cookie_of_a_redfish_login_is_nothing_by_itself(site):
    """Cross-site request forgery, and Redfish's rule that no cookie authenticates."""
    web, answer = redfish_page(site)
    other, _ = redfish_page(site, "operator")
    page = site.web("admin")
    token, right = web.cookies["SESSION"], web.cookies["XSRF-TOKEN"]
    tries = [{}, {"X-XSRF-TOKEN": ""}, {"X-XSRF-TOKEN": "x"}, {"X-XSRF-TOKEN": token}, {"X-XSRF-TOKEN": right[:-1]},
             {"X-XSRF-TOKEN": right + "x"}, {"X-XSRF-TOKEN": right.swapcase()}, {"X-CSRF-Token": right}, {"XSRF-TOKEN": right},
             {"X-XSRF-TOKEN": other.cookies["XSRF-TOKEN"]}, {"X-XSRF-TOKEN": page.csrf}]
    for headers in tries:
        for method, path in (("GET", SLOT), ("GET", "/api/slots"), ("POST", EJECT), ("GET", "/api/events"),
                             ("GET", "/redfish/v1/EventService/SSE"), ("DELETE", answer.get("Location"))):
            body = {"what": {}} if method == "POST" else {}
            assert web.ask(method, path, headers=headers, **body).status == 401, (headers, method, path)
    for protocol in (None, "x", token, right[:-1], f"{right}, x", other.cookies["XSRF-TOKEN"], page.csrf):
        assert refused(web, "/vm/0/0", protocol) == 401, protocol
    wrong = [{"SESSION": token + "x"}, {page.cookie: token}, {"XSRF-TOKEN": right}, {"session": token},
             {"SESSION": page.cookies[page.cookie]}]
    for cookies in wrong:
        web.cookies = cookies
        assert web.get(SLOT, headers={"X-XSRF-TOKEN": right}).status == 401, cookies
        assert refused(web, "/vm/0/0", right) == 401
    web.cookies = {"SESSION": token}
    assert web.post(EJECT, headers={"X-XSRF-TOKEN": right, "Origin": "https://evil.example"}).status == 403
    assert refused(web, "/vm/0/0", right, {"Origin": "https://evil.example"}) == 403
    assert web.raw(web.text("GET", SLOT, {"X-XSRF-TOKEN": right, "x-xsrf-token": "y"})).status == 400  # which of both?
    assert web.get(SLOT, headers={"X-XSRF-TOKEN": right}).status == 200


def test_a_redfish_logins_file_is_served_and_goes_with_it(site):
    web, answer = redfish_page(site)
    image = Image(bytes(range(250)) * 100)
    browser = Browser(web, image, flavour="webui-vue", path="/vm/0/0")
    site.wait_state("slot0", "ready")
    assert handle(site.uri()).pread(25_000, 0) == image.data
    assert web.ask("DELETE", answer.get("Location"), headers={"X-XSRF-TOKEN": web.cookies["XSRF-TOKEN"]}).status == 204
    assert browser.wait_end() == 1008
    site.wait_state("slot0", "empty")
    reader, _ = redfish_page(site, "reader")
    assert refused(reader, "/vm/0/0", reader.cookies["XSRF-TOKEN"]) == 403


def test_other_origins_may_be_allowed(new_site):
    site = new_site(keys={"origins": "https://console.example.org https://b.example"})
    web = site.web("admin")
    WebSocket(web, "/nbd/0", web.csrf, {"Origin": "https://console.example.org"}).wire.cut()
    assert refused(web, "/nbd/1", web.csrf, {"Origin": "https://console.example.org.evil.example"}) == 403


@pytest.mark.plain
@pytest.mark.parametrize("change", [["--disable"], ["--enable", "--role", "ReadOnly"], ["--delete"], []],
                         ids=["disabled", "role", "deleted", "password"])
def test_sessions_end_with_a_change_of_their_account(new_site, change):
    site = new_site(slots=SLOTS)
    web, other = site.web("operator"), site.web("admin")
    events = Events(web)
    assert events.next()
    browsers = [Browser(web, Image(bytes(5000)), "slot0"), Browser(web, Image(bytes(5000)), "slot1", flavour="jsnbd")]
    for browser in browsers:
        browser.wait_serving()
        site.wait_state(browser.slot, "ready")
    passwd(site.users, *change, "operator", given="new password\n")
    for browser in browsers:
        assert browser.wait_end(10 if SANITIZED else 1) == 1008
        site.wait_state(browser.slot, "empty", 10)
    while events.next() is not None:
        pass
    assert web.get("/api/slots").status == 401
    assert web.try_login("operator", PASSWORDS["operator"]).status == (200 if "--role" in change else 401)
    assert other.get("/api/slots").status == 200


def test_headers_of_a_proxy_let_nobody_in(site):
    web = site.web()
    for name, value in (("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-User", "admin"), ("Forwarded", "for=127.0.0.1"),
                        ("X-Real-IP", "::1"), ("X-Server-Addr", "127.0.0.1"), ("Host", "127.0.0.1"), ("Host", "169.254.0.17"),
                        ("X-Remote-User", "admin"), ("X-SSL-Client-CN", "admin")):
        assert web.get("/api/slots", headers={name: value}).status == 401, name
    text = web.text("GET", "/api/slots")
    assert web.raw(text.replace(b"\r\n\r\n", b"\r\nHost: 127.0.0.1\r\n\r\n")).status == 400


def test_there_is_no_password_in_the_program():
    strings = set(re.findall(rb"[ -~]{4,}", pathlib.Path(os.path.realpath(binary())).read_bytes()))
    assert not strings & {b"0penBmc", b"ADMIN", b"calvin", b"admin:admin", b"root:root", b"changeme"}
    assert not [s for s in strings if re.match(rb"\$(y|6)\$.{20,}", s)]


def test_logins_do_not_grow_without_bound(site):
    web, tokens = site.web(), set()
    for _ in range(30):
        answer = web.try_login("operator", PASSWORDS["operator"])
        assert answer.status in (200, 503)
        if answer.status == 200:
            name, token = re.match(f"({COOKIE})=([A-Za-z0-9_-]{{43}});", answer.all("Set-Cookie")[0]).groups()
            tokens.add(token)
    alive_tokens = []
    for token in tokens:
        web.cookies = {name: token}
        if web.get("/api/session").status == 200:
            alive_tokens.append(token)
            web.csrf = web.get("/api/session").json()["csrf"]
            assert web.ask("DELETE", "/api/session").status == 200
            web.csrf = None
    assert 1 <= len(alive_tokens) <= 8 and len({t[:8] for t in tokens}) == len(tokens)
    assert site.web("operator").get("/api/slots").status == 200


# --- the next client on a slot ---


ROUNDS = 300 if SANITIZED else 10_000


class SlotLine:
    """The slot's state over one connection to the control socket."""

    def __init__(self, site):
        self.lines = site.daemon.connect().makefile("rw", encoding="utf-8", newline="\n")

    def status(self):
        self.lines.write("status --json\n")
        self.lines.flush()
        answer = self.lines.readline()
        assert self.lines.readline().startswith("ok")
        return json.loads(answer)["slots"][0]

    def wait_fresh(self):
        for _ in range(10_000):
            slot = self.status()
            if slot["state"] == "empty":
                break
        assert (slot["state"], slot["image"], slot["size"], slot["writable"]) == ("empty", None, 0, False)


def descriptors(site):
    """Each number with what it is of."""
    folder, found = f"/proc/{site.daemon.process.pid}/fd", set()
    for number in os.listdir(folder):
        try:
            found.add((number, os.readlink(f"{folder}/{number}")))
        except FileNotFoundError:
            pass  # closed meanwhile
    return found


def new_numbers(site, before):
    return {number for number, _ in descriptors(site) - before}


def serve_and_vanish(web, site, before):
    """A client who may, in the middle of a message; gives the number of its descriptor in the daemon."""
    password = base64.b64encode(f"admin:{PASSWORDS['admin']}".encode()).decode()
    with web.connect() as wire:
        wire.sendall(web.text("GET", "/nbd/0", {**upgrade_fields(), "Authorization": f"Basic {password}"}) + frame(BINARY, GREETING) +
                     frame(BINARY, struct.pack(">QH", 100_000, 3)) + frame(BINARY, bytes(1000))[:500])
        reader = AnswerReader(wire)
        assert reader.head().status == 101
        assert reader.take(2 + 4 + 16)[2:6] == struct.pack(">I", 3)  # it is asked for its export
        mine = new_numbers(site, before)
        wire.cut()
    return mine


def ask_as_a_stranger(web, site, before):
    with web.connect() as wire:
        reader = AnswerReader(wire)
        wire.sendall(web.text("GET", "/api/slots", {"Connection": "keep-alive"}))
        assert reader.next().status == 401
        mine = new_numbers(site, before)
        wire.sendall(web.text("GET", "/nbd/0", upgrade_fields()) + frame(BINARY, GREETING))
        answer = reader.next()
        assert answer.status == 401 and b"IHAVEOPT" not in answer.rest  # which was read as a request, if at all
        wire.cut()
    return mine


@pytest.mark.plain
def test_the_next_connection_inherits_nothing(site):
    """A virtual USB server whose state was bound to a number of a file descriptor, which the next client got."""
    web, line = site.plain(), SlotLine(site)
    line.wait_fresh()
    before = descriptors(site)
    used_again, rounds = 0, 0
    while used_again < ROUNDS:
        line.wait_fresh()
        first = serve_and_vanish(web, site, before)
        if SANITIZED:  # which is slow to let go of it
            wait_for(lambda: first - new_numbers(site, before), "a descriptor to be closed")
        used_again += bool(ask_as_a_stranger(web, site, before) & first)  # or something else has it by now
        rounds += 1
        assert rounds < 2 * ROUNDS, "the descriptors are not used again"
    line.wait_fresh()
    wait_for(lambda: fds(site) <= len(before), "the descriptors to be closed")


def test_the_next_medium_is_its_own(site):
    web, image = site.plain(), Image(os.urandom(200_000))
    for _ in range(10):
        browser = Browser(web, image, flavour="jsnbd").wait_serving()
        site.wait_state("slot0", "ready")
        assert handle(site.uri()).pread(1000, 0) == image.data[:1000]
        browser.cut()
        site.wait_state("slot0", "empty")
        image = Image(os.urandom(200_000))


# --- TLS ---


def test_nothing_is_spoken_in_the_clear_on_the_tls_port(site):
    address = site.address()
    for text in (site.web().text("POST", "/api/session", body=b"{}"), site.web().text("GET", "/nbd/0", upgrade_fields()),
                 GREETING, b"\x80\x2e\x01\x00\x02" + bytes(43), b"STARTTLS\r\n"):
        with Web(address, None).connect() as wire:
            wire.sendall(text)
            answer = wire.read_all()
            assert b"HTTP" not in answer and len(answer) < 20  # a TLS alert at most
    alive(site)


def test_bytes_before_the_handshake_are_not_acted_on(site):
    web = site.web()
    with Web(site.address(), None).connect() as wire:
        wire.sendall(web.text("GET", "/api/slots", {"Connection": "keep-alive"}))
        with pytest.raises(OSError):
            wire.handshake(tls_context())
    alive(site)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_protocols_are_refused(site, version):
    context = tls_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with pytest.raises(OSError):
        Web(site.address(), context).connect()


def test_weak_ciphers_are_refused(site):
    tried = 0
    for ciphers in ("NULL", "aNULL", "3DES", "RC4", "kRSA+AES", "DES", "EXPORT", "AES+CBC", "CAMELLIA"):
        context = tls_context()
        try:
            context.set_ciphers(ciphers + ":@SECLEVEL=0")
        except ssl.SSLError:
            continue  # this OpenSSL has not even got them
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(OSError):
            Web(site.address(), context).connect()
        tried += 1
    assert tried >= 3


def test_the_protocols_of_today_are_spoken(site):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = tls_context()
        context.minimum_version = context.maximum_version = version
        with Web(site.address(), context).connect() as wire:
            assert wire.tls.cipher()[2] >= 128 and ("GCM" in wire.tls.cipher()[0] or "POLY1305" in wire.tls.cipher()[0])


def test_bytes_behind_an_upgrade_belong_to_the_websocket(site):
    web = site.web("admin")
    socket = WebSocket(web, "/nbd/0", web.csrf, pipelined=frame(BINARY, GREETING))
    assert socket.read()[:4] == struct.pack(">I", 3)  # the client's flags: the greeting was taken
    socket.wire.cut()
    site.wait_state("slot0", "empty")
    request = web.text("POST", "/api/slots/slot1/eject")
    before = site.daemon.log().count("audit: eject")
    socket = WebSocket(web, "/nbd/0", web.csrf, pipelined=request)
    with pytest.raises(Exception):
        while True:
            socket.read()
    assert socket.code == 1002 and site.daemon.log().count("audit: eject") == before
    assert refused(web, "/nbd/0", "wrong", pipelined=request) == 401
    alive(site)


# --- the page and the log ---


def test_a_name_is_text_wherever_it_is_shown(site):
    web = site.web("admin")
    name = "<script>alert(1)</script>\r\nSet-Cookie: x=y\x1b[31m.iso"
    browser = Browser(web, Image(bytes(5000)), name=name).wait_serving()
    site.wait_state("slot0", "ready")
    answer = web.get("/api/slots", headers={"Origin": "https://evil.example"})
    assert answer.get("Content-Type") == "application/json" and not answer.all("Access-Control-Allow-Origin")
    assert not answer.all("Set-Cookie") and web.slot()["imageName"] == name
    assert "x-content-type-options" in {field.lower() for field, _ in answer.fields}
    assert web.ask("OPTIONS", "/api/slots", headers={"Origin": "https://evil.example"}).status == 403
    assert "<script>" not in web.get("/").body.decode("latin-1")
    browser.stop()


def test_nothing_of_a_client_breaks_a_line_of_the_log(site):
    evil = "x\r\naudit: login ok: user=\"admin\"\x1b[2J\u0085\u2028"
    web = site.web("admin")
    browser = Browser(web, Image(bytes(5000)), name=evil).wait_serving()
    site.wait_state("slot0", "ready")
    with site.daemon.connect() as control:
        control.sendall(b"status\nslots\n")
        control.shutdown(socket.SHUT_WR)
        shown = b"".join(iter(lambda: control.recv(65536), b""))
    assert b"\naudit" not in shown and not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown.decode())
    browser.stop(4000, evil)
    browser.wait_end()
    stranger = site.web(source="127.0.0.31")
    stranger.try_login(evil, "x")
    stranger.get("/api/slots", headers={"User-Agent": "a\x1b[31m\u0085".encode().decode("latin-1"), "X-Auth-Token": "b\x1b"})
    web.insert("slot1", "https://127.0.0.1:1/" + evil)
    web.insert("slot1", "https://127.0.0.1:1/%0d%0aaudit:%1b")
    log = site.daemon.log()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", log)
    assert not re.search(r'^audit: login ok: user="admin"$|^\S* ?audit: login ok: user="admin"\W*$', log, re.M)
