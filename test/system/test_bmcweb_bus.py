"""The D-Bus service that bmcweb drives: browsers, what other doors do, reload, and buses that come and go."""
import errno
import os
import socket
import subprocess
import time
import xml.etree.ElementTree as ET

import dbus
import pytest

from browser import DISC, READ
from bus import (LEGACY, MANAGER, NAME, PREFIX, PROPERTIES, PROXY, ROOT, Bmcweb, MountLater, bus, credentials, mount, # noqa: F401
                 mount_error, served, some, stalled_server, unmount, unmount_error) # (fixtures)
from conftest import TOP, binary, wait_for
from test_nbd import handle


# --- Proxy ---


@pytest.mark.smoke
def test_a_browser_through_bmcweb(served):
    d, client = served()
    image = some(3_000_000)
    bmcweb = Bmcweb(client, image, PROXY).mount()
    assert client.completed(PROXY) == 0
    bmcweb.wait_serving()
    assert client.get(PROXY, "Process", "Active") is True
    assert client.get(PROXY, "MountPoint", "ImageURL") == ""
    assert client.get(PROXY, "MountPoint", "WriteProtected") is True
    assert client.get(LEGACY, "Process", "Active") is False
    assert handle(d.uri()).pread(3_000_000, 0) == image.data
    assert max(length for kind, _, length in bmcweb.requests if kind == READ) <= 131072 # bmcweb takes no more
    assert unmount(client, PROXY)
    assert client.completed(PROXY, 2) == 0
    bmcweb.wait_end()
    assert bmcweb.requests[-1][0] == DISC and not bmcweb.faults # the page closes its WebSocket then
    assert unmount_error(client, PROXY)[0] == "AccessDenied" # as bmcweb says it afterwards
    bmcweb.end()
    again = Bmcweb(client, some(5000), PROXY).mount()
    assert client.completed(PROXY, 3) == 0
    assert handle(d.uri()).pread(5000, 0) == again.image.data
    again.end()


def test_a_browser_that_closes_its_page(served):
    d, client = served()
    bmcweb = Bmcweb(client, some(5000), PROXY).mount()
    assert client.completed(PROXY) == 0
    bmcweb.end()
    bmcweb.wait_end()
    assert unmount(client, PROXY)
    assert client.completed(PROXY, 2) == 0
    assert d.slot()["state"] == "empty"


def test_a_browser_that_comes_back(served):
    d, client = served("slot.slot0.reconnect-grace=30s")
    image = some(500_000)
    bmcweb = Bmcweb(client, image, PROXY).mount()
    assert client.completed(PROXY) == 0
    h = handle(d.uri())
    assert h.pread(1000, 0) == image.data[:1000]
    bmcweb.end()
    bmcweb.wait_end()
    again = Bmcweb(client, image, PROXY)
    wait_for(lambda: mounts(again), "the slot to wait for a browser")
    assert client.completed(PROXY, 2) == 0
    assert h.pread(1000, 400_000) == image.data[400_000:401_000]
    again.end()


def mounts(bmcweb):
    try:
        return bmcweb.mount()
    except dbus.DBusException:
        return None


def test_nobody_listens(served):
    d, client = served()
    kind, words = client.error(PROXY, PREFIX + "Proxy", "Mount")
    assert kind == "FileNotFound" and "Slot_0.sock" in words
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(client.get(PROXY, "MountPoint", "Socket")) # and does not listen
        assert "refused" in client.error(PROXY, PREFIX + "Proxy", "Mount")[1]
    assert d.slot()["state"] == "empty" and client.completions(PROXY) == []


@pytest.mark.parametrize("how,number", [("closes", errno.ECONNRESET), ("speaks http", errno.EPROTO)])
def test_a_proxy_that_is_no_browser(served, how, number):
    _, client = served()
    bmcweb = Bmcweb(client, some(5000), PROXY)
    if how == "speaks http":
        bmcweb.greeting = b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n"
        bmcweb.mount()
    else:
        assert client.call(PROXY, PREFIX + "Proxy", "Mount") is True
        bmcweb.listener.accept()[0].close()
    assert client.completed(PROXY) == number
    bmcweb.end()


def test_a_browser_without_room_is_sent_away(served):
    """bmcweb forgets its WebSocket only at the end, which it hears of only once we are connected."""
    d, client = served()
    first = Bmcweb(client, some(5000), PROXY).mount()
    assert client.completed(PROXY) == 0
    second = Bmcweb(client, some(5000, seed=8), PROXY).mount()
    second.wait_end()
    assert second.requests == [(DISC, 0, 0)] and not second.faults
    assert client.completed(PROXY, 2) == errno.EPERM
    assert unmount(client, PROXY)  # bmcweb always sends it when the WebSocket has ended
    assert client.completed(PROXY, 3) == 0
    assert handle(d.uri()).pread(5000, 0) == first.image.data
    assert unmount(client, PROXY)  # this one is meant
    assert client.completed(PROXY, 4) == 0
    assert d.slot()["state"] == "empty"
    first.end()
    second.end()


def test_an_unmount_is_the_administrators_unless_a_browser_has_just_been_sent_away(served, bus):
    d, client = served()
    first = Bmcweb(client, some(5000), PROXY).mount()
    assert client.completed(PROXY) == 0
    stays = Bmcweb(client, some(5000, seed=8), PROXY, on_request=lambda *request: True)  # does not go
    stays.mount()
    assert client.completed(PROXY, 2) == errno.EPERM
    gone = Bmcweb(client, some(5000, seed=9), PROXY).mount()
    gone.wait_end()
    assert client.completed(PROXY, 3) == errno.EPERM
    other = bus.client()
    assert unmount(other, PROXY)  # of another caller
    assert client.completed(PROXY, 4) == 0
    assert d.slot()["state"] == "empty"
    for bmcweb in (first, stays, gone):
        bmcweb.end()


def test_a_refused_mount_takes_nothing_from_an_administrator(served):
    d, client = served()
    first = Bmcweb(client, some(5000), PROXY).mount()
    assert client.completed(PROXY) == 0
    first.listener.close()
    assert client.error(PROXY, PREFIX + "Proxy", "Mount")[0] == "AccessDenied"  # nobody listens: nobody waits either
    assert unmount(client, PROXY)
    assert client.completed(PROXY, 2) == 0
    assert d.slot()["state"] == "empty"
    first.end()


def test_many_browsers_without_room_and_the_daemons_end(served):
    d, client = served()
    first = Bmcweb(client, some(5000), PROXY).mount()
    assert client.completed(PROXY) == 0
    away = [Bmcweb(client, some(5000), PROXY, on_request=lambda *request: True).mount() for _ in range(8)]
    last = Bmcweb(client, some(5000), PROXY)
    assert client.error(PROXY, PREFIX + "Proxy", "Mount")[0] == "AccessDenied"
    d.stop()
    for bmcweb in [first, *away, last]:
        bmcweb.end()


# --- other doors, and reload ---


def test_what_other_doors_do_is_told(served, nginx, ca):
    d, client = served(ca)
    url = nginx.url("image.iso")
    d.ok(f"insert 1 {url}")
    path = ROOT + "/Legacy/Slot_3"
    client.wait(lambda: ("Active", True) in client.changes(path), "the insert to be told", 5)
    assert client.get(path, "MountPoint", "ImageURL") == url
    d.ok("eject 1")
    client.wait(lambda: ("ImageURL", "") in client.changes(path), "the eject to be told", 5)
    assert client.changes(path)[-3:] == [("Active", False), ("ExitCode", 0), ("ImageURL", "")]
    assert client.completions(path) == []
    d.error("insert 1 " + nginx.url("nothing.iso"))
    assert not [c for c in client.changes(ROOT + "/Proxy/Slot_1")]


def test_a_url_that_is_no_utf8(served, folder):
    image = os.fsencode(folder) + b"/\xff\xfe.iso"
    with open(image, "wb") as f:
        f.write(bytes(4096))
    d, client = served()
    with d.connect() as s:
        s.sendall(b"insert 0 " + image + b"\n")
        s.shutdown(socket.SHUT_WR)
        assert s.makefile("rb").readlines()[-1].startswith(b"ok") # a warning may come before
    assert client.objects()[LEGACY][PREFIX + "MountPoint"]["ImageURL"].endswith("/\\xff\\xfe.iso")


def config_with(bus, folder, *names, more=""):
    return (f"[daemon]\nruntime-dir = {folder}\n[dbus]\nbus = {bus.address}\n{more}" +
            "".join(f"[slot {name}]\n" for name in names))


def test_reload_adds_and_removes_objects(served, bus, folder, www):
    place = folder / "0"
    d, client = served(config=config_with(bus, place, "a"))
    assert set(client.objects()) == {ROOT + "/Proxy/Slot_0", ROOT + "/Legacy/Slot_1"}
    d.ok(f"insert a {www}/image.iso")
    d.config.write_text(config_with(bus, place, "a", "b"))
    d.ok("reload")
    assert set(client.objects()) == {ROOT + name for name in ("/Proxy/Slot_0", "/Proxy/Slot_1", "/Legacy/Slot_2", "/Legacy/Slot_3")}
    added = client.of(ROOT, MANAGER + ".InterfacesAdded")
    removed = client.of(ROOT, MANAGER + ".InterfacesRemoved")
    assert {path for path, _ in added} == {ROOT + name for name in ("/Proxy/Slot_1", "/Legacy/Slot_2", "/Legacy/Slot_3")}
    assert [path for path, _ in removed] == [ROOT + "/Legacy/Slot_1"]
    interfaces = dict((path, i) for path, i in added)[LEGACY]
    assert interfaces[PREFIX + "Process"]["Active"] is True # the medium is still in
    assert PREFIX + "Legacy" in interfaces and PREFIX + "Legacy" in removed[0][1]
    d.config.write_text(config_with(bus, place, "b"))
    d.ok("reload")
    assert set(client.objects()) == {ROOT + "/Proxy/Slot_0", ROOT + "/Legacy/Slot_1"}
    assert client.error(LEGACY, PREFIX + "Legacy", "Unmount")[0] == "UnknownObject"
    d.config.write_text(config_with(bus, place, "b", more="mount-timeout = 7s\n"))
    d.ok("reload")
    assert client.get(PROXY, "MountPoint", "Timeout") == 7


def test_reload_does_not_change_the_bus(daemon, bus, folder):
    place = folder / "0"
    d, client = daemon(config=config_with(bus, place, "a")), bus.client().wait_name()
    for text in (config_with(bus, place, "a", more="name = org.example.Other\n"),
                 f"[daemon]\nruntime-dir = {place}\n[slot a]\n"):
        d.config.write_text(text)
        assert "restart" in d.error("reload")
    assert set(client.objects()) == {ROOT + "/Proxy/Slot_0", ROOT + "/Legacy/Slot_1"}


def test_a_slot_that_goes_while_it_is_mounted(served, bus, folder):
    place = folder / "0"
    d, client = served(config=config_with(bus, place, "a", "b"))
    path = ROOT + "/Legacy/Slot_3"
    with stalled_server() as url:
        late = MountLater(client, url, path)
        d.config.write_text(config_with(bus, place, "a"))
        d.ok("reload")
        assert late.wait(client) == ["ECANCELED"] and client.completions(path) == []


# --- the bus ---


def test_the_bus_dies_and_comes_back(served, bus, www):
    d, client = served(f"daemon.file-directory={www}")
    assert mount(client, f"{www}/image.iso") and client.completed(LEGACY) == 0
    with stalled_server() as url:
        MountLater(client, url, ROOT + "/Legacy/Slot_3")
        bus.stop()
        wait_for(lambda: "the bus is gone" in d.log(), "the daemon to notice")
        assert handle(d.uri()).pread(1000, 0) == (www / "image.iso").read_bytes()[:1000]
        time.sleep(0.5)  # it is away when it is tried again
        bus.start()
        client = bus.client().wait_name()
        assert client.get(LEGACY, "Process", "Active") is True
        assert unmount(client, ROOT + "/Legacy/Slot_3")
        assert client.completed(ROOT + "/Legacy/Slot_3", 2) == 0
    assert unmount(client) and client.completed(LEGACY) == 0


def test_the_bus_comes_later(daemon, bus):
    bus.stop()
    d = daemon(f"dbus.bus={bus.address}")
    wait_for(lambda: "can't connect" in d.log(), "the daemon to try")
    bus.start()
    assert len(bus.client().wait_name().objects()) == 4


def test_a_bus_that_never_answers(daemon, folder):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(folder / "mute"))
        s.listen(5)
        d = daemon(f"dbus.bus=unix:path={folder}/mute")
        connection, _ = s.accept()
        assert d.ok("status")
        d.stop()
        connection.close()


def test_the_name_is_anothers(daemon, bus):
    other = bus.client()
    other.connection.request_name(NAME, dbus.bus.NAME_FLAG_DO_NOT_QUEUE)
    d = daemon(f"dbus.bus={bus.address}")
    wait_for(lambda: "another program owns the name" in d.log(), "the daemon to notice")
    other.connection.release_name(NAME)
    assert len(other.wait_name().objects()) == 4


@pytest.mark.parametrize("bus", [f'<policy context="mandatory"><deny own="{NAME}"/></policy>'], indirect=True)
def test_the_name_is_forbidden(daemon, bus):
    d = daemon(f"dbus.bus={bus.address}")
    wait_for(lambda: "refuses the name" in d.log(), "the daemon to notice")
    assert d.ok("status")


def test_it_stops_with_calls_in_flight(served, bus):
    d, client = served()
    answers = []
    out, into = credentials(b"", end=False)
    with stalled_server() as url:
        late = MountLater(client, url)
        client.connection.call_async(NAME, ROOT + "/Legacy/Slot_3", PREFIX + "Legacy", "Mount", "sbh",
                                     ("https://x/y", False, dbus.types.UnixFd(out)), answers.append, answers.append, timeout=20)
        assert mount_error(client, fd=out, path=ROOT + "/Legacy/Slot_3")[0] == "EBUSY"
        d.stop()
        client.wait(lambda: answers, "its end", 5)
        assert isinstance(answers[0], dbus.DBusException)
        assert late.wait(client) == ["ECANCELED"] and client.completions(LEGACY) == []
    os.close(into)
    os.close(out)


def test_it_stops_while_a_browser_shakes_hands(served):
    d, client = served()
    bmcweb = Bmcweb(client, some(5000), PROXY)
    assert client.call(PROXY, PREFIX + "Proxy", "Mount") is True
    connection, _ = bmcweb.listener.accept()
    d.stop()
    assert client.completed(PROXY) == errno.ECANCELED
    connection.close()
    bmcweb.end()


def test_many_calls(served):
    """More than are handled in a row; each is answered."""
    _, client = served()
    answers = []
    for _ in range(500):
        client.connection.call_async(NAME, LEGACY, PROPERTIES, "GetAll", "s", (PREFIX + "MountPoint",), answers.append,
                                     answers.append, timeout=60)
    client.wait(lambda: len(answers) == 500, "the answers", 60)
    assert all("ImageURL" in answer for answer in answers)


# --- the configuration ---


@pytest.mark.parametrize("value", ["tcp:host=localhost,port=1", "unixexec:path=/bin/sh", "unix:path=/a;unix:path=/b", "private"])
def test_a_bus_that_can_not_be(value):
    answer = subprocess.run([binary(), "--no-config", "--set", f"dbus.bus={value}", "--check-config"], capture_output=True, text=True)
    assert answer.returncode != 0 and "unix:" in answer.stderr


def test_the_folder_of_the_sockets(daemon, bus, folder):
    def mode(path):
        return path.stat().st_mode & 0o777

    d = daemon(f"dbus.bus={bus.address}", "dbus.proxy-mode=0750")
    assert mode(d.folder / "proxy") == 0o750
    d.stop()
    (folder / "shared").mkdir(mode=0o755)
    (folder / "shared").chmod(0o755)
    for name, kept in (("shared", 0o755), ("new", 0o711)):
        d = daemon(f"dbus.bus={bus.address}", f"dbus.proxy-directory={folder}/{name}", "dbus.proxy-mode=0711")
        assert mode(folder / name) == kept
        assert bus.client().wait_name().get(PROXY, "MountPoint", "Socket") == f"{folder}/{name}/Slot_0.sock"
        d.stop()
    answer = subprocess.run([binary(), "--no-config", "--set", f"daemon.runtime-dir={folder}", "--set", f"dbus.bus={bus.address}",
                             "--set", f"dbus.proxy-directory={folder}/bus.conf"], capture_output=True, text=True, timeout=30)
    assert answer.returncode != 0 and "proxy-directory" in answer.stderr and "Not a directory" in answer.stderr


def test_no_bus_by_default(daemon, bus):
    d = daemon()
    assert "dbus" not in d.log() and not (d.folder / "proxy").exists()


def test_the_policy_lets_root_call_and_nobody_else():
    tree = ET.parse(TOP / "packaging" / "xyz.openbmc_project.VirtualMedia.conf")
    policies = {(p.get("user") or p.get("context")): p for p in tree.findall("policy")}
    assert {k for k in policies} == {"root", "nbd-proxy", "default"}
    assert policies["root"].find("allow[@own]").get("own") == policies["nbd-proxy"].find("allow[@own]").get("own") == NAME
    assert policies["nbd-proxy"].find("allow[@send_destination]") is None
    assert policies["root"].find("allow[@send_destination]").get("send_destination") == NAME
    assert policies["default"].find("deny[@send_destination]").get("send_destination") == NAME


@pytest.mark.skipif(os.getuid() != 0, reason="the policy is for root")
@pytest.mark.parametrize("bus", [f"<include>{TOP}/packaging/xyz.openbmc_project.VirtualMedia.conf</include>"], indirect=True)
def test_a_bus_with_the_policy(daemon, bus):
    daemon(f"dbus.bus={bus.address}")
    client = bus.client().wait_name()
    assert len(client.objects()) == 4
    assert not unprivileged_may_call(bus)


def unprivileged_may_call(bus):
    """Of a process that is nobody's."""
    bus.path.chmod(0o777)
    bus.path.parent.chmod(0o755)
    answer = subprocess.run(["dbus-send", f"--bus={bus.address}", "--print-reply", f"--dest={NAME}", ROOT,
                             "org.freedesktop.DBus.Peer.Ping"], user=65534, capture_output=True, text=True)
    assert "AccessDenied" in answer.stderr or answer.returncode == 0, answer.stderr
    return answer.returncode == 0
