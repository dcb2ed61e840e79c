"""The D-Bus service that bmcweb drives: its objects, and images by URL. On a bus of the test's own."""
import errno
import os
import threading
import time
import xml.etree.ElementTree as ET

import dbus
import pytest

from bus import (LEGACY, NAME, NOBODY, PREFIX, PROPERTIES, PROXY, ROOT, MountLater, bus, credentials, mount, # noqa: F401
                 mount_error, served, stalled_server, unmount, unmount_error) # (fixtures)
from conftest import wait_for
from test_nbd import handle


# --- what is there ---


def test_objects_and_properties_are_those_of_the_table(served):
    d, client = served("slot.slot1.attach=nbd", "slot.slot0.attach=socket", "dbus.mount-timeout=33s")
    objects = client.objects()
    assert set(objects) == {ROOT + name for name in ("/Proxy/Slot_0", "/Proxy/Slot_1", "/Legacy/Slot_2", "/Legacy/Slot_3")}
    for path, interfaces in objects.items():
        kind, number = path.split("/")[4], int(path[-1])
        assert {PREFIX + "Process", PREFIX + "MountPoint", PREFIX + kind} <= set(interfaces)
        assert PREFIX + ("Legacy" if kind == "Proxy" else "Proxy") not in interfaces
        assert interfaces[PREFIX + "Process"] == {"Active": False, "ExitCode": -1}
        assert interfaces[PREFIX + "MountPoint"] == {
            "Device": "nbd1" if number % 2 else "", "EndpointId": f"/nbd/{number}" if kind == "Proxy" else "",
            "Socket": f"{d.folder}/proxy/Slot_{number}.sock" if kind == "Proxy" else "", "ImageURL": "",
            "WriteProtected": True, "Timeout": 33, "RemainingInactivityTimeout": 0}
        assert client.call(path, PROPERTIES, "GetAll", "s", PREFIX + "MountPoint") == interfaces[PREFIX + "MountPoint"]
    assert (d.folder / "proxy").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("path,kind,signature", [(PROXY, "Proxy", ""), (LEGACY, "Legacy", "sbv")])
def test_introspection(served, path, kind, signature):
    _, client = served()
    tree = ET.fromstring(client.call(path, "org.freedesktop.DBus.Introspectable", "Introspect"))
    interfaces = {i.get("name"): i for i in tree.findall("interface")}

    def args(interface, what, name):
        found = interfaces[PREFIX + interface].find(f"{what}[@name='{name}']")
        return "".join(a.get("type") for a in found.findall("arg") if a.get("direction") != "out")

    assert args(kind, "method", "Mount") == signature and args(kind, "method", "Unmount") == ""
    assert args(kind, "signal", "Completion") == "i"
    types = {p.get("name"): p.get("type") for i in ("Process", "MountPoint") for p in interfaces[PREFIX + i].findall("property")}
    assert types == {"Active": "b", "ExitCode": "i", "Device": "s", "EndpointId": "s", "Socket": "s", "ImageURL": "s",
                     "WriteProtected": "b", "Timeout": "i", "RemainingInactivityTimeout": "i"}
    names = {n.get("name") for n in ET.fromstring(client.call(ROOT, "org.freedesktop.DBus.Introspectable", "Introspect")).findall("node")}
    assert names == {"Proxy", "Legacy"}


def test_properties_are_not_for_writing(served):
    _, client = served()
    for name, value in (("ImageURL", "https://x/y"), ("RemainingInactivityTimeout", dbus.Int32(5))):
        kind, words = client.error(LEGACY, PROPERTIES, "Set", "ssv", PREFIX + "MountPoint", name, value)
        assert kind == "AccessDenied" and words == f"Setting {name} property is not allowed"
    client.call(LEGACY, PROPERTIES, "Set", "ssv", PREFIX + "Process", "Active", True) # and nothing comes of it
    assert client.get(LEGACY, "Process", "Active") is False


def test_numbers_may_be_the_same(served):
    _, client = served("dbus.legacy-numbers=same")
    assert set(client.objects()) == {f"{ROOT}/{kind}/Slot_{n}" for kind in ("Proxy", "Legacy") for n in (0, 1)}


# --- Legacy ---


@pytest.mark.smoke
@pytest.mark.parametrize("form", ["sbv -1", "sbv fd", "sbh"])
def test_mount_and_unmount(served, www, nginx, ca, form):
    d, client = served(ca)
    out, _ = credentials(b"\0\0")
    third = NOBODY if form == "sbv -1" else dbus.types.UnixFd(out)
    url = nginx.url("image.iso")
    assert client.call(LEGACY, PREFIX + "Legacy", "Mount", form[:3], url, False, third) is True
    os.close(out)
    assert client.completed(LEGACY) == 0
    assert client.get(LEGACY, "Process", "Active") is True
    assert client.get(LEGACY, "MountPoint", "ImageURL") == url
    assert client.get(ROOT + "/Legacy/Slot_3", "Process", "Active") is False
    assert client.get(PROXY, "Process", "Active") is False
    assert handle(d.uri()).pread(5000, 100_000) == (www / "image.iso").read_bytes()[100_000:105_000]
    assert unmount(client) is True
    assert client.completed(LEGACY, 2) == 0
    assert d.slot()["state"] == "empty"
    assert client.get(LEGACY, "Process", "ExitCode") == 0
    changes = [c for c in client.changes(LEGACY) if c[0] != "WriteProtected"]
    assert changes == [("ImageURL", url), ("Active", True), ("Active", False), ("ExitCode", 0), ("ImageURL", "")]


def test_the_properties_change_before_the_completion(served, www):
    _, client = served(f"daemon.file-directory={www}")
    assert mount(client, f"{www}/image.iso")
    assert client.completed(LEGACY) == 0
    names = [name.rpartition(".")[2] for path, name, _ in client.signals if path == LEGACY]
    assert names[-1] == "Completion" and "PropertiesChanged" in names


@pytest.mark.parametrize("writable", [False, True])
def test_write_protection(served, folder, writable):
    image = folder / "disk.img"
    image.write_bytes(bytes(1 << 20))
    d, client = served(f"daemon.file-directory={folder}")
    path = ROOT + "/Legacy/Slot_3"
    assert mount(client, str(image), path, writable)
    assert client.completed(path) == 0
    assert client.get(path, "MountPoint", "WriteProtected") is not writable
    assert d.slot(1)["writable"] is writable


@pytest.mark.parametrize("what,name,words", [("gopher://x/y.iso", "EPROTONOSUPPORT", ""), ("", "InvalidArgs", ""),
                                             ("404", "FileNotFound", "404 Not Found"), ("refused", "ECONNREFUSED", "127.0.0.1"),
                                             ("wrong", "EKEYREJECTED", "certificate")])
def test_a_mount_that_fails_says_so(served, nginx, ca, what, name, words):
    """bmcweb's InsertMedia is answered by that alone."""
    d, client = served(ca, "http.io-timeout=1s")
    url = {"404": nginx.url("nothing.iso"), "refused": "http://127.0.0.1:9/x.iso", "wrong": nginx.url("image.iso", "wrong")}
    error = mount_error(client, url.get(what, what), signature="sbv", third=NOBODY)
    assert error[0] == name and words in error[1]
    assert client.completions(LEGACY) == []
    assert client.get(LEGACY, "Process", "Active") is False
    assert client.get(LEGACY, "MountPoint", "ImageURL") == ""
    assert d.slot()["state"] == "empty"
    if what == "404":
        assert client.get(LEGACY, "Process", "ExitCode") == 1


def test_what_is_refused_has_no_completion(served, www):
    _, client = served(f"daemon.file-directory={www}")
    assert unmount_error(client) == ("AccessDenied", "Operation not permitted in ready state")
    assert unmount_error(client, PROXY) == ("AccessDenied", "Operation not permitted in ready state")
    assert mount(client, f"{www}/image.iso") and client.completed(LEGACY) == 0
    assert mount_error(client, signature="sbv", third=NOBODY) == ("AccessDenied", "Operation not permitted in active state")
    assert client.error(PROXY, PREFIX + "Proxy", "Mount") == ("EBUSY", "Resource is busy")
    assert unmount_error(client, PROXY)[0] == "AccessDenied"
    time.sleep(0.3)  # nothing comes
    assert client.completions(LEGACY) == [0] and client.completions(PROXY) == []


def test_files_of_the_bmc_need_the_configuration(served, www):
    _, client = served()
    for url in (f"{www}/image.iso", f"file://{www}/image.iso", f"FILE://{www}/image.iso"):
        assert mount_error(client, url, signature="sbv", third=NOBODY)[0] == "NotSupported"


@pytest.mark.parametrize("signature,arguments", [("", ()), ("s", ("x",)), ("sb", ("x", True)), ("sbs", ("x", True, "y")),
                                                 ("sbv", ("x", True, "y")), ("sbi", ("x", True, -1)),
                                                 ("sbv", ("x", True, dbus.Int64(-1)))])
def test_other_arguments_are_refused(served, signature, arguments):
    _, client = served()
    assert client.error(LEGACY, PREFIX + "Legacy", "Mount", signature, *arguments)[0] == "InvalidArgs"
    assert client.error(PROXY, PREFIX + "Proxy", "Mount", "s", "x")[0] == "InvalidArgs"
    assert unmount_error(client)[0] == "AccessDenied"


def test_unmount_ends_a_mount_under_way(served):
    d, client = served()
    with stalled_server() as url:
        late = MountLater(client, url)
        wait_for(lambda: d.slot()["state"] == "opening", "the mount")
        assert mount_error(client, url, signature="sbv", third=NOBODY) == ("EBUSY", "Resource is busy")
        assert client.get(LEGACY, "MountPoint", "ImageURL") == url
        assert unmount(client)
        assert client.completed(LEGACY) == 0
        assert late.wait(client) == ["ECANCELED"]


def test_a_mount_that_takes_too_long_is_given_up(served):
    d, client = served("dbus.mount-timeout=1s")
    with stalled_server() as url:
        assert MountLater(client, url).wait(client) == ["Timeout"]
    assert d.slot()["state"] == "empty" and client.completions(LEGACY) == []


def test_a_mount_that_is_slow_is_answered_before_bmcweb_gives_up(served):
    d, client = served("dbus.mount-timeout=60s")
    with stalled_server() as url:
        late, began = MountLater(client, url), time.monotonic()
        assert late.wait(client) == [True]
        assert 17 < time.monotonic() - began < 20
        assert client.completions(LEGACY) == [] and d.slot()["state"] == "opening"
        assert unmount(client)
        assert client.completed(LEGACY, 2) == 0
        assert client.completions(LEGACY) == [errno.ECANCELED, 0]


# --- credentials ---


def test_credentials_come_through_the_pipe_and_stay_secret(served, nginx, ca):
    d, client = served(ca)
    url = nginx.url("auth/image.iso")
    assert mount(client, url, data=b"alice\0CANARY-PASSWORD\0")
    assert client.completed(LEGACY) == 0
    assert "CANARY-PASSWORD" not in str(client.objects()) + str(client.signals) + d.log() + d.state()
    assert unmount(client) and client.completed(LEGACY, 2) == 0
    out, _ = credentials(b"alice\0CANARY-MISTAKE\0")
    said = [mount_error(client, url, fd=out)]
    os.close(out)
    said.append(mount_error(client, url.replace("https://", "https://alice:CANARY-PASSWORD@"), signature="sbv", third=NOBODY))
    assert [name for name, _ in said] == ["AccessDenied", "InvalidArgs"] and "CANARY" not in str(said)
    assert mount(client, url + "?CANARY-KEY", data=b"alice\0CANARY-PASSWORD\0")
    assert client.completed(LEGACY, 3) == 0
    assert "CANARY" not in str(client.objects()) + str(client.signals) + d.log() + d.state()


def test_credentials_may_come_in_pieces(served, nginx, ca):
    _, client = served(ca)
    out, into = os.pipe()

    def write():
        for byte in b"alice\0CANARY-PASSWORD\0":
            os.write(into, bytes([byte]))
            time.sleep(0.01)  # each is a piece

    thread = threading.Thread(target=write)
    thread.start()
    client.call(LEGACY, PREFIX + "Legacy", "Mount", "sbh", nginx.url("auth/image.iso"), False, dbus.types.UnixFd(out))
    thread.join()
    assert client.completed(LEGACY) == 0 # though the pipe was not closed
    os.close(into)
    os.close(out)


@pytest.mark.parametrize("data", [b"", b"alice", b"alice\0", b"alice\0secret", b"a\0b\0c", b"a\0b\0\0", b"x" * 2000,
                                  b"x" * 1000 + b"\0" + b"y" * 1000 + b"\0"])
def test_malformed_credentials(served, data):
    d, client = served()
    out, _ = credentials(data)
    assert mount_error(client, fd=out) == ("InvalidArgs", "Malformed extra data")
    os.close(out)
    assert d.slot()["state"] == "empty"
    assert unmount_error(client) == ("AccessDenied", "Operation not permitted in ready state")


def test_the_longest_credentials(served, nginx, ca):
    _, client = served(ca)
    assert mount(client, nginx.url("image.iso"), data=b"u" * 512 + b"\0" + b"p" * 512 + b"\0")
    assert client.completed(LEGACY) == 0


def test_descriptors_that_are_no_pipe(served, folder):
    _, client = served()
    (folder / "file").write_bytes(b"alice\0secret\0")
    out, into = os.pipe()
    for fd in (os.open(folder / "file", os.O_RDONLY), os.open("/dev/zero", os.O_RDONLY), os.open(folder, os.O_RDONLY), into):
        assert mount_error(client, fd=fd) == ("InvalidArgs", "Malformed extra data")
        os.close(fd)
    assert mount_error(client, signature="sbv", third=dbus.Int32(7)) == ("InvalidArgs", "Malformed extra data")
    os.close(out)


def test_a_pipe_that_never_gives_bytes(served, bus, nginx, ca):
    d, client = served(ca)
    other = bus.client()
    out, into = credentials(b"alice\0", end=False)
    failed = []
    client.connection.call_async(NAME, LEGACY, PREFIX + "Legacy", "Mount", "sbh",
                                 ("https://x/y", False, dbus.types.UnixFd(out)), None, failed.append, timeout=20)
    client.objects() # answered behind the Mount
    began = time.monotonic()
    assert mount_error(other, fd=out) == ("EBUSY", "Resource is busy")
    os.set_blocking(out, True) # the pipe is ours too
    assert d.ok("status") and other.objects()
    assert time.monotonic() - began < 3
    client.wait(lambda: failed, "the answer", 10)
    assert failed[0].get_dbus_name().endswith(".Timeout")
    assert mount(client, nginx.url("image.iso")) and client.completed(LEGACY) == 0
    os.close(into)
    os.close(out)


def test_unmount_while_credentials_are_waited_for(served):
    _, client = served()
    out, into = credentials(b"", end=False)
    failed = []
    client.connection.call_async(NAME, LEGACY, PREFIX + "Legacy", "Mount", "sbh",
                                 ("https://x/y", False, dbus.types.UnixFd(out)), None, failed.append, timeout=20)
    assert mount_error(client, fd=out)[0] == "EBUSY"
    assert unmount(client)
    client.wait(lambda: failed, "the answer", 3)
    assert client.completed(LEGACY) == 0 # of the Unmount; the Mount was not accepted
    os.close(into)
    os.close(out)
