"""Where the web server listens and who it is: addresses, certificates, reloads, systemd's sockets."""
import datetime
import hashlib
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from browser import Browser, Image, WebSocket
from conftest import TOP, Daemon, binary, free_port, openssl, wait_for
from test_nbd import handle
from website import (ANYBODY, PASSWORDS, Web, accounts, new_site, no_answer, passwd, refused_start,  # noqa: F401 (fixtures)
                     tls_context)


def certificate_of(address, context=ANYBODY):
    with Web(address, context).connect() as wire:
        return wire.tls.getpeercert(binary_form=True)


def pem_to_der(path):
    return ssl.PEM_cert_to_DER_cert(re.search(r"-----BEGIN C.*?-----END CERTIFICATE-----\n", path.read_text(), re.S)[0])


# --- addresses ---


@pytest.mark.smoke
def test_plain_http_on_loopback_and_a_unix_socket(new_site, folder):
    site = new_site(keys={"listen": "", "listen-plain": f"127.0.0.1:0 unix:{folder}/web.sock"})
    assert stat.S_IMODE(os.stat(folder / "web.sock").st_mode) == 0o660
    clients = [Web(site.address("http", 0), None), Web(folder / "web.sock", None)]
    for number, web in enumerate(clients):
        web.login("admin")
        answer = web.ok("GET", "/api/slots")
        assert answer.json()["slots"] and not answer.all("Strict-Transport-Security")
        browser = Browser(web, Image(bytes(5000)), f"slot{number}").wait_serving()
        site.wait_state(f"slot{number}", "ready")
        assert handle(site.uri(f"slot{number}")).pread(5000, 0) == bytes(5000)
        browser.stop()
    assert 'peer="unix"' in site.daemon.log()
    site.stop()
    assert not (folder / "web.sock").exists()


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "*:0"])
def test_plain_http_is_for_this_machine_only(folder, accounts, address):
    assert "plain HTTP is served on loopback addresses" in refused_start(folder, accounts, listen_plain=address)


def test_without_an_account_only_loopback_is_served(folder, new_site):
    words = refused_start(folder, listen="0.0.0.0:0")
    assert "nobody could log in" in words and "nbd-proxy passwd" in words
    site = new_site(users=None)
    assert "nobody can log in" in site.daemon.log()
    web = site.web()
    for user, password in (("admin", ""), ("admin", "admin"), ("root", "0penBmc"), ("root", "root"), ("", "")):
        assert web.try_login(user, password).status in (401, 429)
    passwd(site.users, "admin", given=PASSWORDS["admin"] + "\n")
    other = Web(site.address(), source="127.0.0.9")
    wait_for(lambda: other.try_login("admin", PASSWORDS["admin"]).status == 200, "the new account", 10)


def test_disabled_accounts_are_no_accounts(folder, accounts):
    text = accounts.read_text().replace(":enabled", ":disabled")
    users = folder / "disabled"
    users.write_text(text)
    assert "nobody could log in" in refused_start(folder, users, listen="0.0.0.0:0")


def test_all_addresses_with_an_account(new_site):
    site = new_site(keys={"listen": "0.0.0.0:0 127.0.0.1:0"})
    for address in site.listening():
        web = Web(("127.0.0.1", int(address.rsplit(":", 1)[1])))
        assert web.get("/api/slots").status == 401


@pytest.mark.parametrize("keys,words", [
    ({"listen": "localhost:0"}, "localhost:0"), ({"listen": "127.0.0.1"}, "127.0.0.1"), ({"listen": "127.0.0.1:99999"}, "99999"),
    ({"listen": "[fe80::1%none0]:0"}, "none0"), ({"listen": "127.0.0.1:0", "certificate": "/no/such"}, "/no/such"),
    ({"listen": "127.0.0.1:0", "origins": "nonsense"}, "origins"),
    ({"listen": "127.0.0.1:0", "upload_directory": "/proc/none"}, "/proc/none"),
])
def test_what_can_not_be_is_said_at_the_start(folder, accounts, keys, words):
    assert words in refused_start(folder, accounts, **keys)


def test_a_port_in_use_is_said(folder, accounts):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        assert "in use" in refused_start(folder, accounts, listen=f"127.0.0.1:{s.getsockname()[1]}")


@pytest.fixture
def in_own_network(folder, monkeypatch):
    """Daemons are in a network without addresses; the function runs a program in a daemon's."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs a network namespace")
    launcher = folder / "launcher"
    launcher.write_text(f"#!/bin/sh\nexec unshare --net sh -c 'ip link set lo up && exec {binary()} \"$@\"' - \"$@\"\n")
    launcher.chmod(0o755)
    monkeypatch.setenv("NBD_PROXY", str(launcher))
    return lambda daemon, *command: subprocess.run(["nsenter", f"--net=/proc/{daemon.process.pid}/ns/net", *command],
                                                   capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("host,address", [("192.0.2.1", "192.0.2.1/32"), ("[2001:db8::1]", "2001:db8::1/128")])
def test_an_address_that_comes_later_is_served_then(new_site, in_own_network, host, address):
    if ":" in address and not has_ipv6():
        pytest.skip("needs IPv6")
    site = new_site(keys={"listen": f"{host}:8443"})
    assert f"{host}:8443: no interface has this address yet" in site.daemon.log()
    fetch = ("curl", "-sSk", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}", f"https://{host}:8443/api/slots")
    assert in_own_network(site.daemon, *fetch).returncode != 0
    added = in_own_network(site.daemon, "ip", "address", "add", address, "dev", "lo")
    assert added.returncode == 0, added.stderr
    answer = in_own_network(site.daemon, *fetch)
    assert answer.stdout == "401", answer.stderr


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


def test_addresses_change_at_a_reload_without_dropping_the_others(new_site, folder):
    site = new_site(keys={"listen-plain": f"unix:{folder}/web.sock"})
    first = Web(site.address()).login("admin")
    kept = first.connect()
    browser = Browser(first, Image(bytes(5000))).wait_serving()
    other = "[::1]" if has_ipv6() else "127.0.0.2"
    assert site.reload(listen=f"127.0.0.1:0 {other}:0")[-1].startswith("ok")
    second = Web(site.address())
    assert second.address[1] != first.address[1]
    second.cookies, second.csrf = first.cookies, first.csrf
    assert second.get("/api/slots").status == 200 and first.get("/api/slots").status == 200
    assert site.reload(listen=f"{other}:0")[-1].startswith("ok")
    third = Web(site.address())
    third.cookies = first.cookies
    assert third.get("/api/slots").status == 200
    with pytest.raises(OSError):
        Web(first.address).get("/")
    kept.sendall(first.text("GET", "/api/slots"))  # what was connected stays so
    assert b"200 OK" in kept.read_all() and browser.code is None
    assert Web(folder / "web.sock", None).get("/api/slots").status == 401
    with socket.create_server(("127.0.0.3", 0)) as taken:
        words = site.reload(listen=f"127.0.0.3:{taken.getsockname()[1]}")[-1]
    assert words.startswith("error: ") and "127.0.0.3" in words
    assert third.get("/api/slots").status == 200  # nothing was changed
    browser.stop()


def test_what_needs_a_restart_is_said(new_site, folder):
    site = new_site()
    for keys in ({"users_file": folder / "x"}, {"session_idle": "1m"}, {"web_connections": "9"},
                 {"upload_directory": folder / "u"}):
        before = dict(site.keys)
        words = site.reload(**keys)[-1]
        assert words.startswith("error: ") and "restart" in words
        site.keys = before
    assert site.reload()[-1].startswith("ok")


# --- certificates ---


def test_a_certificate_is_made_once(new_site):
    site = new_site()
    key, certificate = site.users.parent / "key.pem", site.users.parent / "certificate.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    first = certificate_of(site.address(), tls_context(ca=certificate))  # its names are those of this machine
    assert first == pem_to_der(certificate) and "signed by itself" in site.daemon.log()
    site.daemon.stop()
    site.daemon = Daemon(site.folder, config=site.config())
    assert certificate_of(site.address()) == first and "signed by itself" not in site.daemon.log()


def public(of):
    return of.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def self_signed(key, begin, end, names):
    """As PEM; the times are days from now, or a date."""
    now = datetime.datetime.utcnow().replace(microsecond=0)
    begin, end = (now + datetime.timedelta(days=at) if isinstance(at, int) else datetime.datetime.fromisoformat(at) for at in (begin, end))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bmc")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), begin, end)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_our_own_certificate_is_made_anew_when_it_is_not_right(new_site):
    """At a reload, as each minute; with the key that it had, which browsers may know. The page and the log have its digest."""
    site = new_site()
    key, certificate = site.users.parent / "key.pem", site.users.parent / "certificate.pem"
    first = certificate_of(site.address())
    assert site.reload()[-1].startswith("ok") and certificate_of(site.address()) == first == pem_to_der(certificate)
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    seen = {first}
    for why, *what in (("it has expired", -800, -1), ("it expires soon", -800, 29), ("it begins in the future", 2, 400),
                       ("it was made before the clock was set", "1970-01-01", "2049-12-31"), ("it is not for ", -1, 800)):
        certificate.write_bytes(self_signed(loaded, *what, ["bmc.example.com"]))
        assert site.reload()[-1].startswith("ok") and f"signed by itself ({why}" in site.daemon.log()
        shown = certificate_of(site.address(), tls_context(ca=certificate))
        assert shown == pem_to_der(certificate) and shown not in seen
        assert public(x509.load_der_x509_certificate(shown)) == public(loaded)
        seen.add(shown)
    told = site.web("reader").get("/api/session").json()["certificate"]
    digest = hashlib.sha256(shown).hexdigest().upper()
    assert told["own"] and told["sha256"].replace(":", "") == digest and told["expires"] - time.time() > 800 * 86400
    assert f"fingerprint is {told['sha256']}" in site.daemon.log()
    certificate.write_text("half a certi")  # power was cut
    site.daemon.stop()
    site.daemon = Daemon(site.folder, config=site.config())
    assert certificate_of(site.address()) == pem_to_der(certificate) and "can't be used" in site.daemon.log()


def test_an_own_certificate_is_reloaded(new_site, folder, certificates):
    for name in ("good", "self"):
        shutil.copy(certificates / f"{name}.pem", folder / f"{name}.pem")
        shutil.copy(certificates / f"{name}.key", folder / f"{name}.key")
    site = new_site(keys={"certificate": folder / "good.pem", "certificate-key": folder / "good.key"})
    web = Web(site.address(), tls_context(ca=certificates / "ca.pem")).login("admin")
    browser = Browser(web, Image(bytes(5000))).wait_serving()
    assert certificate_of(site.address()) == pem_to_der(certificates / "good.pem")
    assert not (site.users.parent / "key.pem").exists()
    (folder / "good.pem").write_text("nonsense")
    site.daemon.process.send_signal(1)
    wait_for(lambda: "nothing was changed" in site.daemon.log(), "the refusal")
    assert certificate_of(site.address()) == pem_to_der(certificates / "good.pem")
    shutil.copy(certificates / "self.pem", folder / "good.pem")
    shutil.copy(certificates / "self.key", folder / "good.key")
    site.daemon.process.send_signal(1)
    wait_for(lambda: "configuration reloaded" in site.daemon.log(), "the reload")
    assert certificate_of(site.address()) == pem_to_der(certificates / "self.pem")
    assert browser.code is None and Web(site.address()).get("/").status in (200, 404)
    browser.stop()


def test_a_new_certificates_place_is_taken_at_a_reload(new_site, certificates):
    site = new_site()
    assert site.reload(certificate=certificates / "good.pem", certificate_key=certificates / "good.key")[-1].startswith("ok")
    assert certificate_of(site.address()) == pem_to_der(certificates / "good.pem")
    words = site.reload(certificate=certificates / "self.pem")[-1]  # with another's key
    assert words.startswith("error: ")
    assert certificate_of(site.address()) == pem_to_der(certificates / "good.pem")


@pytest.fixture(scope="module")
def client_certificates(certificates, tmp_path_factory):
    """Of our CA for admin and for nobody; one of another CA for admin."""
    place = tmp_path_factory.mktemp("clients")

    def request(name):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", place / f"{name}.key", "-out",
                place / f"{name}.csr")
        openssl("x509", "-req", "-in", place / f"{name}.csr", "-CA", certificates / "ca.pem", "-CAkey", certificates / "ca.key",
                "-set_serial", random_serial(), "-days", "30", "-out", place / f"{name}.pem")

    for name in ("admin", "reader", "gone", "nobody"):
        request(name)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 30, "-subj", "/CN=admin", "-keyout", place / "other.key",
            "-out", place / "other.pem")
    return lambda name: tls_context(pair=(place / f"{name}.pem", place / f"{name}.key"))


def random_serial():
    return int.from_bytes(os.urandom(8), "big") >> 1


def test_a_client_certificate_is_a_login(new_site, certificates, client_certificates):
    site = new_site(keys={"client-ca": certificates / "ca.pem"})
    address = site.address()
    admin, reader = Web(address, client_certificates("admin")), Web(address, client_certificates("reader"))
    assert admin.get("/api/session").json() == {"user": "admin", "role": "Administrator"}
    assert admin.eject("slot0").status == 200
    assert admin.post("/api/slots/slot0/eject", headers={"Origin": "https://evil.example"}).status == 403
    assert reader.get("/api/slots").status == 200 and reader.eject("slot0").status == 403
    for name in ("gone", "nobody"):
        assert Web(address, client_certificates(name)).get("/api/slots").status == 401
    assert no_answer(Web(address, client_certificates("other")))
    assert Web(address).get("/api/slots").status == 401
    assert Web(address).login("operator").get("/api/slots").status == 200  # with a password as before
    browser = Browser(admin, Image(bytes(5000)), flavour="jsnbd").wait_serving()
    browser.stop()
    WebSocket(admin, "/nbd/1").wire.cut()  # jsnbd's page in a browser brings nothing else


def test_client_certificates_may_be_required(new_site, certificates, client_certificates):
    site = new_site(keys={"client-ca": certificates / "ca.pem", "client-certificates": "required"})
    assert Web(site.address(), client_certificates("admin")).get("/api/slots").status == 200
    for context in (ANYBODY, client_certificates("other")):
        assert no_answer(Web(site.address(), context))
    assert Web(site.address(), client_certificates("nobody")).login("admin").get("/api/slots").status == 200


# --- systemd's sockets ---

LAUNCHER = """#!{python}
import os, socket, sys
sockets = [socket.socket(), socket.socket(socket.AF_UNIX)]
sockets[0].bind(("{address}", {port}))
sockets[1].bind("{folder}/activated.sock")
for fd, s in enumerate(sockets, 10):
    s.listen()
    os.dup2(s.fileno(), fd)
for fd in (10, 11):
    os.dup2(fd, fd - 7)
os.environ.update(LISTEN_FDS="2", LISTEN_PID=str(os.getpid()))
os.execv("{binary}", ["{binary}"] + sys.argv[1:])
"""


def test_sockets_that_systemd_hands_over(new_site, folder, monkeypatch):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    launcher = folder / "launcher"
    launcher.write_text(LAUNCHER.format(python=sys.executable, address="127.0.0.1", port=port, folder=folder, binary=binary()))
    launcher.chmod(0o755)
    monkeypatch.setenv("NBD_PROXY", str(launcher))
    site = new_site(keys={"listen": ""})
    tls, plain = Web(("127.0.0.1", port)), Web(folder / "activated.sock", None)
    assert tls.login("admin").get("/api/slots").status == 200
    assert plain.login("admin").get("/api/slots").status == 200
    assert site.reload()[-1].startswith("ok")
    assert tls.get("/api/slots").status == 200  # they stay
    site.stop()
    assert (folder / "activated.sock").exists()  # it is systemd's


def test_a_socket_of_systemds_without_an_account_says_what_is_missing(daemon, folder, monkeypatch):
    port, real = free_port(), binary()
    (folder / "accounts").mkdir()
    launcher = folder / "launcher"
    launcher.write_text(LAUNCHER.format(python=sys.executable, address="0.0.0.0", port=port, folder=folder, binary=real))
    launcher.chmod(0o755)
    monkeypatch.setenv("NBD_PROXY", str(launcher))
    d = daemon(f"web.users-file={folder}/accounts/users", f"web.web-directory={TOP}/web")
    monkeypatch.setenv("NBD_PROXY", real)
    assert "until there is an account (add one: nbd-proxy passwd NAME)" in d.log()
    web = Web(("127.0.0.1", port))
    for path in ("/", "/api/slots", "/api/session", "/redfish/v1", "/nbd/0"):
        answer = web.get(path)
        assert answer.status == 503 and b"nbd-proxy passwd NAME" in answer.body, (path, answer.body)
    assert web.get("/redfish/v1").json()["error"]["@Message.ExtendedInfo"]
    assert Web(folder / "activated.sock", None).get("/").status == 200  # it is for who is on the machine
    passwd(folder / "accounts" / "users", "admin", given=PASSWORDS["admin"])
    wait_for(lambda: web.get("/").status == 200, "the account")
    assert web.login("admin").get("/api/slots").status == 200
