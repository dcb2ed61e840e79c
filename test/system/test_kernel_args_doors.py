"""Kernels are given arguments by whoever may insert: Redfish, the page's API, and the configuration."""
import subprocess
import urllib.parse

import pytest

from bootable import Disc
from browser import Browser, Image
from conftest import wait_for
from redfish_client import EJECT, INSERT, SLOT, admin, own, service, users # noqa: F401 (fixtures)
from website import new_site # noqa: F401 (fixtures)
from website import accounts # noqa: F401 (fixtures)

MARK = "mark=4711"
ADDED = f"linux /boot/vmlinuz quiet --- {MARK}\n".encode()


@pytest.fixture(scope="session")
def image(www, tmp_path_factory):
    """On the web server."""
    (www / "installer.iso").write_bytes(Disc(tmp_path_factory.mktemp("installer")).image.read_bytes())
    return "installer.iso"


def read(uri, place):
    path = place / "read"
    path.unlink(missing_ok=True)
    subprocess.run(["nbdcopy", uri, path], check=True)
    return path.read_bytes()


def oem(**members):
    return {"Oem": {"NbdProxy": members}}


# --- Redfish ---


def test_insert_media_with_arguments(admin, service, nginx, image, tmp_path):
    answer = admin.post(INSERT, {"Image": nginx.url(image), **oem(KernelArguments=MARK)})
    assert answer.status == 204
    assert ADDED in read(service.uri(), tmp_path)
    shown = admin.slot()
    assert shown["WriteProtected"] and MARK not in str(shown)
    assert "md5sum.txt" in str(shown["@Message.ExtendedInfo"])


def test_the_same_insert_again_is_answered_at_once_and_another_is_not(admin, nginx, image):
    wish = {"Image": nginx.url(image), **oem(KernelArguments=MARK)}
    assert admin.post(INSERT, wish).status == 204
    assert admin.post(INSERT, wish).status == 204
    assert admin.post(INSERT, {**wish, **oem(KernelArguments="other=1")}).ids == ["ResourceInUse"]


def test_a_patch_replaces_arguments_and_keeps_those_that_it_does_not_name(admin, service, nginx, image, tmp_path):
    wish = {"Image": nginx.url(image)}
    assert admin.patch(SLOT, {**wish, **oem(KernelArguments="first=1")}).status in (200, 204)
    assert b"first=1" in read(service.uri(), tmp_path)
    assert admin.patch(SLOT, {**wish, **oem(KernelArguments=MARK)}).status in (200, 204)
    assert ADDED in read(service.uri(), tmp_path)
    for again in (wish, {**wish, "UserName": "reader", "Password": "secret"}, {"UserName": "reader", "Password": "new"}):
        assert admin.patch(SLOT, again).status in (200, 204)
        assert ADDED in read(service.uri(), tmp_path)
    assert admin.post(EJECT).status == 204


def test_a_menu_has_a_timeout(admin, service, nginx, image, tmp_path):
    wish = {"Image": nginx.url(image), **oem(MenuTimeout="PT1M")}
    assert admin.post(INSERT, wish).status == 204
    assert admin.post(INSERT, wish).status == 204
    assert b"timeout 600\ndefault vesamenu" in read(service.uri(), tmp_path)
    assert admin.patch(SLOT, {"Image": nginx.url(image), **oem(KernelArguments=MARK)}).status in (200, 204)
    now = read(service.uri(), tmp_path)
    assert ADDED in now and b"timeout 600\ndefault vesamenu" in now
    assert admin.patch(SLOT, {"Image": nginx.url(image), **oem(MenuDefault="Install")}).status in (200, 204)
    now = read(service.uri(), tmp_path)
    assert ADDED in now and b"ontimeout install\ntimeout 600\ndefault vesamenu" in now and b"set default='Install'" in now
    nowhere = admin.patch(SLOT, {"Image": nginx.url(image), **oem(MenuDefault="memtest")})
    assert nowhere.ids == ["ImageNotUsable"] and "there are: " in str(nowhere.json)
    for wrong in ("5", "PT2H", "PT0.5S"):
        assert admin.post(INSERT, {**wish, **oem(MenuTimeout=wrong)}).ids == ["ActionParameterValueFormatError"]
        assert admin.patch(SLOT, {**wish, **oem(MenuTimeout=wrong)}).ids == ["PropertyValueFormatError"]


def test_what_redfish_refuses(admin, nginx, image):
    url = nginx.url(image)
    assert admin.patch(SLOT, oem(KernelArguments=MARK)).ids == ["PropertyMissing"]
    assert admin.post(INSERT, {"Image": url, **oem(KernelArguments=1)}).ids == ["ActionParameterValueTypeError"]
    plain = admin.post(INSERT, {"Image": nginx.url("image.iso"), **oem(KernelArguments=MARK)})
    assert plain.status == 400 and plain.ids == ["ImageNotUsable"] and "looked for: grub.cfg" in str(plain.json)
    assert admin.post(INSERT, {"Image": url, **oem(KernelArguments="a\nb")}).ids == ["ImageNotUsable"]
    assert admin.post(INSERT, {"Image": url, **oem(KernelArguments=None)}).status == 204


# --- the page's API ---


def test_insert_by_the_pages_api(new_site, nginx, www, image, tmp_path):
    site = new_site(more=f"[http]\nca-file = {nginx.tls}/ca.pem\n")
    web = site.web("operator")
    assert web.insert("slot0", nginx.url(image), kernelArgs=MARK, menuTimeout=2, menuDefault="0").status == 200
    now = read(site.uri(), tmp_path)
    assert ADDED in now and b"ontimeout install\ntimeout 20\ndefault vesamenu" in now
    assert "md5sum.txt" in web.slot()["warning"] and MARK not in str(web.slot())
    assert web.eject("slot0").status == 200
    assert "3600" in web.insert("slot0", nginx.url(image), menuTimeout=-1).error
    assert "control characters" in web.insert("slot0", nginx.url(image), kernelArgs="a\tb").error
    (www / "odd.iso").write_bytes((www / image).read_bytes().replace(b"md5sum.txt", b"md5\xff\n.sums"))  # a name that is no text
    answer = web.insert("slot0", nginx.url("odd.iso"), kernelArgs=MARK)
    assert r"md5\xff\x0a.sums" in answer.json()["warning"] == web.slot()["warning"]


# --- a browser's file ---


def test_a_browsers_file_has_them_as_an_images_url_has(new_site, nginx, www, image, tmp_path):
    """By the page's ticket, and by the WebSocket's own parameters; the host reads the same bytes."""
    site = new_site(more=f"[http]\nca-file = {nginx.tls}/ca.pem\n")
    web = site.web("admin")
    changes = {"kernelArgs": f"{MARK} a=ü&b {{slot}}", "menuTimeout": 2, "menuDefault": "Install"}
    assert web.insert("slot0", nginx.url(image), **changes).status == 200
    wanted = read(site.uri(), tmp_path)
    assert f"{MARK} a=ü".encode() in wanted and b"set default='Install'" in wanted
    web.eject("slot0")
    file = Image((www / image).read_bytes())
    query = "?" + urllib.parse.urlencode({"kernel-args": changes["kernelArgs"], "menu-timeout": "2", "menu-default": "Install"},
                                         quote_via=urllib.parse.quote)
    identity = Browser(web, file, begin=False).identity | changes
    for how in ({"identity": identity}, {"flavour": "jsnbd", "path": "/nbd/slot0" + query}):
        browser = Browser(web, file, **how)
        site.wait_state("slot0", "ready")
        assert read(site.uri(), tmp_path) == wanted
        assert MARK not in str(web.slot()) and not web.slot()["writable"]
        web.eject("slot0")
        assert browser.wait_end() == 1000 and not browser.faults


@pytest.mark.parametrize("changes, why", (({"kernelArgs": "a\tb"}, "control characters"), ({"menuTimeout": 3601}, "3600"),
                                          ({"kernelArgs": "{serial}"}, "{serial}")))
def test_a_browsers_file_is_refused_before_it_is_served(new_site, changes, why):
    web = new_site().web("admin")
    answer = web.ticket("slot0", {"name": "a", "size": 4096, "lastModified": 1, "samples": [], **changes})
    assert answer.status == 400 and why in answer.error


def test_a_browsers_file_without_what_is_to_be_changed(new_site):
    site = new_site()
    browser = Browser(site.web("admin"), Image(bytes(1 << 20)), flavour="jsnbd", path="/nbd/slot0?kernel-args=a")
    assert browser.wait_end() == 1011 and "no kernel was given arguments" in browser.reason
    with pytest.raises(Exception, match="400"):
        Browser(site.web("admin"), Image(bytes(1 << 20)), flavour="jsnbd", path="/nbd/slot0?kernel-args=" + "a" * 2001)


# --- the configuration ---


def test_the_configured_image_has_its_arguments(daemon, nginx, image, tmp_path):
    text = f"[slot cd]\nattach = socket\nimage = {nginx.url(image)}\nkernel-args = {MARK}\nmenu-timeout = 0\nmenu-default = Install\n"
    d = daemon(f"http.ca-file={nginx.tls}/ca.pem", config=text)
    wait_for(lambda: d.slot()["state"] == "ready", "the configured image")
    now = read(d.uri("cd"), tmp_path)
    assert ADDED in now and b"ontimeout install\ntimeout 1\ndefault vesamenu" in now
    d.ok("eject cd")
    d.ok(f"insert cd {nginx.url(image)}")
    assert MARK.encode() not in read(d.uri("cd"), tmp_path)
