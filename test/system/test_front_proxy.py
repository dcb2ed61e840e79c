"""packaging/nginx/front.conf: our page, webui-vue and Redfish behind a real nginx that keeps nothing back, with the daemon on a
UNIX socket."""
import base64
import gzip
import hashlib
import json
import os
import random
import re
import shutil
import subprocess

import pytest

from browser import Browser, Image
from conftest import TOP, free_port, free_ports, wait_for
from redfish_client import EJECT, MEDIA, SESSIONS, SLOT, Client
from test_nbd import handle
from test_redfish_events import Stream
from website import PASSWORDS, AnswerReader, Web, accounts, new_site  # noqa: F401 (fixtures)

MIB = 1 << 20
PAGE = b"<!DOCTYPE html><title>webui-vue</title>"
SCRIPT = b"console.log('built')"


class Front:
    """The file as it is shipped, with this machine's places and ports; both names have an address here."""

    def __init__(self, folder, certificates, upstream):
        self.folder, self.ports = folder, dict(zip(("media.", ""), free_ports(2)))
        www = folder / "www"
        (www / "js").mkdir(parents=True)
        (www / "index.html.gz").write_bytes(gzip.compress(PAGE))
        (www / "favicon.ico").write_bytes(b"icon")
        (www / "js/app.js.gz").write_bytes(gzip.compress(SCRIPT))
        text = (TOP / "packaging/nginx/front.conf").read_text()
        for name, port in self.ports.items():
            text, found = re.subn(rf"listen 443 (ssl.*)\n    listen \[::\]:443 ssl.*(\n    server_name {name}bmc.example.com;)",
                                  rf"listen 127.0.0.1:{port} \1\2", text)
            assert found == 1
        for before, after in (("/run/nbd-proxy/web.sock;", f"{upstream};"), ("/etc/nginx/bmc.pem", certificates / "good.pem"),
                              ("/etc/nginx/bmc.key", certificates / "good.key"), ("/usr/share/www", www)):
            assert before in text
            text = text.replace(before, str(after))
        self.temp = folder / "temp"
        temp = "\n".join(f"{kind}_temp_path {self.temp}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        self.temp.mkdir()
        (folder / "conf").write_text(f"user root; daemon off; pid {folder}/pid; events {{}} http {{ access_log off; {temp} {text} }}")
        self.process = subprocess.Popen(["nginx", "-p", folder, "-c", folder / "conf", "-e", folder / "error.log"])
        wait_for(lambda: (folder / "pid").exists(), "nginx")

    def media(self, source=None):
        return Web(("127.0.0.1", self.ports["media."]), source=source)

    def webui(self):
        return Web(("127.0.0.1", self.ports[""]))

    def redfish(self, name, user=None):
        client = Client.__new__(Client)
        client.port = self.ports[name]
        client.always = Client.authorization(user, PASSWORDS[user]) if user else {}
        return client

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        kept = [path for path in self.temp.rglob("*") if path.is_file()]
        assert not kept  # nothing went by a file
        assert "[alert]" not in (self.folder / "error.log").read_text()


@pytest.fixture
def site(new_site, folder):
    return new_site(keys={"listen": "", "listen-plain": f"unix:{folder}/web.sock", "upload-directory": folder / "uploads",
                          "web-directory": TOP / "web"})


@pytest.fixture
def front(site, folder, certificates, tmp_path):
    it = Front(tmp_path, certificates, folder / "web.sock")
    yield it
    it.stop()


def first_event(web, path, act):
    """What comes on an open stream of events, by the wire, within its time; `act` is done when the stream is there."""
    with web.connect(20) as wire:
        wire.sendall(web.text("GET", path, {"Accept": "text/event-stream", "Connection": "keep-alive"}))
        reader = AnswerReader(wire)
        answer = reader.head()
        assert answer.status == 200 and answer.get("Content-Type") == "text/event-stream", answer
        seen = b""
        while b"data: " not in seen:
            seen = reader.buffer if b"data: " in reader.buffer else seen + reader.take(1)
        act()
        reader.buffer = b""
        while b"rescue.iso" not in reader.buffer:
            assert reader.more(), "the stream ended"


def serves(site, browser, image, slot="slot0"):
    site.wait_state(slot, "ready")
    h = handle(site.uri(slot))
    found = hashlib.sha256(b"".join(h.pread(min(MIB, image.size - at), at) for at in range(0, image.size, MIB)))
    h.shutdown()
    assert found.hexdigest() == hashlib.sha256(image.data).hexdigest() and not browser.faults


def browser_serves(site, web):
    """A browser's file is told of at once, and read whole; then the browser ends it."""
    image = Image(random.Random(5).randbytes(6 * MIB + 999))
    browsers = []
    first_event(web, "/api/events", lambda: browsers.append(Browser(web, image, name="rescue.iso")))
    serves(site, browsers[0], image)
    browsers[0].stop()


def test_nginx_takes_the_file(certificates, tmp_path):
    """With both names at one address, as they are there."""
    text = (TOP / "packaging/nginx/front.conf").read_text().replace("/etc/nginx/bmc.pem", f"{certificates}/good.pem")
    text = text.replace("/etc/nginx/bmc.key", f"{certificates}/good.key").replace(" 443 ", f" 127.0.0.1:{free_port()} ")
    text = text.replace("listen [::]:443 ", f"listen unix:{tmp_path}/v6 ")
    (tmp_path / "conf").write_text(f"pid {tmp_path}/pid; events {{}} http {{ {text} }}")
    run = subprocess.run(["nginx", "-t", "-p", tmp_path, "-c", tmp_path / "conf", "-e", tmp_path / "log"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_our_page(site, front, folder):
    """Page, login, events at once, an upload that streams, a browser's whole file; the audit log has the client."""
    web = front.media(source="127.0.0.7")
    assert b"app.js" in web.ok("GET", "/").body and web.ok("GET", "/app.js").status == 200
    web.login("admin")
    assert 'peer="127.0.0.7"' in site.daemon.log()
    browser_serves(site, web)
    site.wait_state("slot0", "empty")

    data = random.Random(6).randbytes(3 * MIB)
    request = web.text("PUT", "/api/uploads/new.iso", {"Origin": web.origin, "Content-Length": str(len(data))}, cookies=True)
    with web.connect() as wire:
        wire.sendall(request + data[:2 * MIB])
        wait_for(lambda: any(p.stat().st_size >= MIB for p in (folder / "uploads").rglob("*") if p.is_file()), "the first part")
        wire.sendall(data[2 * MIB:])
        assert AnswerReader(wire).next().status in (200, 201, 204)
    assert (folder / "uploads/new.iso").read_bytes() == data


def test_who_asks_is_nginxs_word(site, front):
    """What a client says of itself counts for nothing, nor does a page of another site."""
    web = front.media(source="127.0.0.9")
    lies = {"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.2"}
    answer = web.ask("POST", "/api/session", {"user": "admin", "password": "wrong"}, {**lies, "Origin": web.origin})
    assert answer.status == 401 and "192.0.2." not in site.daemon.log() and 'peer="127.0.0.9"' in site.daemon.log()
    foreign = {"user": "admin", "password": PASSWORDS["admin"]}
    assert web.ask("POST", "/api/session", foreign, {"Origin": "https://elsewhere.example"}).status == 403
    assert web.ask("POST", "/api/session", foreign, {"Origin": web.origin}).status == 200


def test_webui_vue(site, front):
    """Its files, that are packed or not; its login with cookies; its NBD server at both places that it knows."""
    web = front.webui()
    assert web.ok("GET", "/").body == PAGE and web.ok("GET", "/favicon.ico").body == b"icon"
    packed = web.ok("GET", "/js/app.js", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(packed.body) == SCRIPT and packed.get("Content-Encoding") == "gzip"
    assert web.get("/api/slots").status == 404  # our API is not at this name
    asks = {"Origin": web.origin, "X-Requested-With": "XMLHttpRequest", "Accept": "application/json"}
    login = web.ask("POST", SESSIONS, {"UserName": "admin", "Password": PASSWORDS["admin"]}, asks)
    assert login.status == 201
    web.cookies = dict(line.split(";")[0].split("=", 1) for line in login.all("Set-Cookie"))
    web.user = "admin"
    assert set(web.cookies) == {"SESSION", "XSRF-TOKEN"}
    asks["X-XSRF-TOKEN"] = web.cookies["XSRF-TOKEN"]
    assert json.loads(web.ask("GET", MEDIA, headers=asks).body)["Members@odata.count"] == 2
    image = Image(random.Random(7).randbytes(4 * MIB + 77))
    for path, slot in (("/vm/0/0", "slot0"), ("/nbd/1", "slot1")):
        browser = Browser(web, image, slot, flavour="webui-vue", path=path)
        serves(site, browser, image, slot)
        assert web.ask("POST", EJECT.replace("Slot_0", f"Slot_{slot[-1]}"), headers={**asks, "Content-Length": "0"}).status == 204
        assert browser.wait_end() == 1000
    assert web.ask("DELETE", login.get("Location"), headers=asks).status == 204
    assert web.ask("GET", MEDIA, headers=asks).status == 401


@pytest.mark.parametrize("name", ["media.", ""])
def test_redfish(site, front, nginx, name, certificates):
    client = front.redfish(name, "admin")
    assert client.get("/redfish/v1").status == 200 and front.redfish(name).get(MEDIA).status == 401
    answer = front.redfish(name).get(MEDIA)
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    with Stream(client) as stream:
        browser = Browser(front.media().login("admin"), Image(bytes(5000)))
        site.wait_state("slot0", "ready")
        assert stream.next()[1]["Events"]  # at once, the stream being open
        assert client.get(SLOT).json["ConnectedVia"] == "Applet"
        assert client.post(EJECT).status == 204 and browser.wait_end() == 1000
        assert stream.next()[1]["Events"]


def test_the_daemon_is_away(site, front):
    site.daemon.stop()
    answer = front.media().get("/api/slots")
    assert answer.status == 502


def nginx_of(server, certificates, tmp_path):
    """With one server, of whose block `server` is the inside."""
    port = free_port()
    (tmp_path / "conf").write_text(f"""user root; daemon off; pid {tmp_path}/pid; events {{}} http {{ access_log off;
        {" ".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))}
        server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {certificates}/good.pem; ssl_certificate_key {certificates}/good.key;
            {server} }} }}""")
    process = subprocess.Popen(["nginx", "-p", tmp_path, "-c", tmp_path / "conf", "-e", tmp_path / "error.log"])
    wait_for(lambda: (tmp_path / "pid").exists(), "nginx")
    yield Web(("127.0.0.1", port))
    process.terminate()
    process.wait(20)


@pytest.fixture
def plain_nginx(site, folder, certificates, tmp_path):
    """An nginx that knows nothing of us: it buffers answers, and speaks HTTP/1.0 to us."""
    yield from nginx_of(f"location / {{ proxy_pass http://unix:{folder}/web.sock:; proxy_set_header Host $http_host; }}",
                        certificates, tmp_path)


@pytest.fixture
def portless_nginx(site, folder, certificates, tmp_path):
    """Its Host has no port; at one path it says so in X-Forwarded-Host, at another in Forwarded."""
    upstream = f"proxy_pass http://unix:{folder}/web.sock:/; proxy_set_header Host $host;"
    forwarded = "proxy_set_header Forwarded 'for=$remote_addr;host=\"$http_host\";proto=https';"
    yield from nginx_of(f"""location / {{ {upstream} }}
        location /one/ {{ {upstream} proxy_set_header X-Forwarded-Host $http_host; }}
        location /two/ {{ {upstream} {forwarded} }}""", certificates, tmp_path)


def test_a_host_without_its_port(site, portless_nginx):
    """What the page is told names both origins and the key; a proxy that says what the Host was needs no key."""
    web, login = portless_nginx, {"user": "admin", "password": PASSWORDS["admin"]}
    fields = {"Origin": web.origin}
    refused = web.ask("POST", "/api/session", login, fields)
    assert refused.status == 403
    for word in (f"of {web.origin},", "asks for http://127.0.0.1. ", "key origins of [web]"):
        assert word in refused.error
    for path in ("/one/", "/two/"):
        assert web.ask("POST", f"{path}api/session", login, fields).status == 200
        assert web.ask("POST", f"{path}api/session", login, {"Origin": "https://127.0.0.1:1"}).status == 403
    assert web.ask("POST", "/api/session", login, {**fields, "X-Forwarded-Host": web.origin[8:]}).status == 200
    assert site.reload(origins=web.origin)[-1].startswith("ok")
    assert web.ask("POST", "/api/session", login, fields).status == 200


@pytest.fixture
def caddy(site, folder, certificates, tmp_path):
    """packaging/caddy/Caddyfile, with this machine's places and ports: the page at one, below /vm at another."""
    program = shutil.which("caddy") or TOP / "build/caddy/usr/bin/caddy"
    if not os.access(program, os.X_OK):
        pytest.skip("needs caddy")
    ports = free_ports(2)
    text = (TOP / "packaging/caddy/Caddyfile").read_text()
    for name, port in zip(("media.bmc.example.com {", "bmc.example.com {"), ports):
        assert text.count("\n" + name) == 1
        text = text.replace("\n" + name, f"\n:{port} {{\n\ttls {certificates}/good.pem {certificates}/good.key")
    assert "unix//run/nbd-proxy/web.sock" in text
    text = text.replace("unix//run/nbd-proxy/web.sock", f"unix/{folder}/web.sock")
    (tmp_path / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n\tgrace_period 1s\n}}\n{text}")
    process = subprocess.Popen([program, "run", "--config", tmp_path / "Caddyfile"], stderr=(tmp_path / "log").open("w"),
                               env={**os.environ, "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})
    wait_for(lambda: process.poll() is not None or "serving initial configuration" in (tmp_path / "log").read_text(), "caddy")
    assert process.poll() is None, (tmp_path / "log").read_text()
    yield [Web(("127.0.0.1", port), source="127.0.0.7") for port in ports]
    process.terminate()
    process.wait(20)


def test_caddy(site, caddy, folder):
    """Page, login, events, an upload and a browser's file; and the page below a path."""
    web, below = caddy
    web.login("admin")
    assert 'peer="127.0.0.7"' in site.daemon.log()
    browser_serves(site, web)
    data = random.Random(6).randbytes(3 * MIB)
    assert web.ask("PUT", "/api/uploads/new.iso", headers={"Origin": web.origin}, body=data).status == 201
    assert (folder / "uploads/new.iso").read_bytes() == data
    lies = {"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.2", "Origin": web.origin}
    assert web.ask("POST", "/api/session", {"user": "admin", "password": "wrong"}, lies).status == 401
    assert "192.0.2." not in site.daemon.log()
    assert below.get("/vm").get("Location") == "/vm/" and below.get("/api/slots").status == 200 and not below.get("/api/slots").body
    assert b'src="app.js"' in below.ok("GET", "/vm/").body and below.get("/vm/api/slots").status == 401
    login = below.ask("POST", "/vm/api/session", {"user": "admin", "password": PASSWORDS["admin"]}, {"Origin": below.origin})
    assert login.status == 200


def test_events_come_through_an_nginx_at_its_defaults(site, plain_nginx, nginx):
    """At once, ours and Redfish's; and a sign of life by which it knows silence."""
    web = plain_nginx.login("admin")
    basic = base64.b64encode(f"admin:{PASSWORDS['admin']}".encode()).decode()
    fields = {"Accept": "text/event-stream", "Authorization": f"Basic {basic}", "Connection": "keep-alive"}
    with web.connect(20) as ours, web.connect(20) as redfish:
        readers = []
        for wire, path in ((ours, "/api/events"), (redfish, "/redfish/v1/EventService/SSE")):
            wire.sendall(web.text("GET", path, fields))
            reader = AnswerReader(wire)
            answer = reader.head()
            assert answer.status == 200 and answer.get("Cache-Control") == "no-store, no-transform", answer
            readers.append(reader)
        assert web.insert("slot0", nginx.url("image.iso"), verify=False).status == 200
        for reader in readers:
            while b"image.iso" not in reader.buffer:
                assert reader.more(), "the stream ended"
        assert web.eject("slot0").status == 200
        while b"\nevent: alive\n" not in readers[0].buffer:
            assert readers[0].more(), "the stream ended"


def test_daemons_on_one_host_have_cookies_of_their_own(site, plain_nginx, new_site):
    """A browser sends a host's cookies to all of its ports: a login at one daemon leaves that at the other, and bmcweb's."""
    other, bmcweb = new_site(), {"SESSION": "of-bmcweb", "XSRF-TOKEN": "of-bmcweb"}
    jar = dict(bmcweb)

    def ask(web, *what):
        web.cookies, web.csrf = jar, csrf.get(web)
        answer = web.ask(*what)
        for line in answer.all("Set-Cookie"):
            name, value = line.split(";")[0].split("=", 1)
            jar.update({name: value})
            if "Max-Age=0" in line:
                del jar[name]
        return answer

    one, two, csrf = plain_nginx, other.web(), {}
    for web in (one, two):
        csrf[web] = ask(web, "POST", "/api/session", {"user": "admin", "password": PASSWORDS["admin"]}).json()["csrf"]
    assert len(jar) == 4 and jar.items() >= bmcweb.items()
    assert ask(one, "GET", "/api/session").json()["csrf"] == csrf[one]
    assert ask(two, "DELETE", "/api/session").status == 200
    assert ask(two, "GET", "/api/session").status == 401 and ask(one, "GET", "/api/session").status == 200
    assert len(jar) == 3 and jar.items() >= bmcweb.items()
