"""The host: its power and boot source over Redfish and the control socket, by a hook that notes what it is told."""
import concurrent.futures
import http.client
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import warnings

import pytest

from bootable import Disc
from conftest import TOP, binary, wait_for
from redfish_client import INSERT, PASSWORDS, SLOT, Client, own, port_of, users # own and users are fixtures

SYSTEM = "/redfish/v1/Systems/system"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"
CAN = """ResetTypes On ForceOff GracefulShutdown GracefulRestart ForceRestart
BootTargets None Pxe Cd Usb Hdd BiosSetup
BootModes UEFI Legacy
"""
# It tells what the file "state" has; what "do" says is done before a change.
HOOK = """#!/bin/sh
cd "${0%/*}" || exit 1
if [ "$1" = get ]; then
    cat state
    exit
fi
echo "$*" >>calls
. ./do
"""


class Hook:
    def __init__(self, folder):
        self.folder = folder / "platform"
        self.folder.mkdir()
        self.path = self.folder / "hook"
        self.path.write_text(HOOK)
        self.path.chmod(0o755)
        self.state()
        self.does("exit 0")

    def state(self, text="PowerState On\n" + CAN):
        (self.folder / "state.new").write_text(text)
        (self.folder / "state.new").rename(self.folder / "state")

    def does(self, text):
        (self.folder / "do").write_text(text + "\n")

    def calls(self):
        """Since it was asked last."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    @property
    def key(self):
        return f"host.hook={self.path}"


@pytest.fixture
def hook(folder):
    return Hook(folder)


@pytest.fixture
def started(own, hook):
    """A daemon whose platform has answered."""
    d = own(hook.key)
    d.ok("host status")
    return d


def boot(client):
    b = client.get(SYSTEM).json["Boot"]
    return b["BootSourceOverrideTarget"], b["BootSourceOverrideEnabled"], b.get("BootSourceOverrideMode")


def override(**values):
    return {"Boot": {f"BootSourceOverride{name}": value for name, value in values.items()}}


# --- Redfish: what is shown ---


@pytest.mark.smoke
def test_power_boot_and_reset(started, hook):
    client = Client(started, "operator")
    system = client.get(SYSTEM).json
    assert system["PowerState"] == "On" and system["Status"] == {"State": "Enabled", "Health": "OK", "Conditions": []}
    assert system["Boot"] == {
        "BootSourceOverrideTarget": "None", "BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideMode": None,
        "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Pxe", "Cd", "Usb", "Hdd", "BiosSetup"],
        "BootSourceOverrideEnabled@Redfish.AllowableValues": ["Disabled", "Once", "Continuous"],
        "BootSourceOverrideMode@Redfish.AllowableValues": ["UEFI", "Legacy"],
        "@Redfish.WriteableProperties": ["BootSourceOverrideMode", "BootSourceOverrideTarget", "BootSourceOverrideEnabled"]}
    reset = system["Actions"]["#ComputerSystem.Reset"]
    assert reset["target"] == RESET
    assert reset["ResetType@Redfish.AllowableValues"] == ["On", "ForceOff", "GracefulShutdown", "GracefulRestart",
                                                          "ForceRestart"]
    assert client.get(reset["@Redfish.ActionInfo"]).json["Parameters"] == [
        {"Name": "ResetType", "Required": True, "DataType": "String",
         "AllowableValues": reset["ResetType@Redfish.AllowableValues"]}]
    info = client.get(client.get(SLOT).json["Actions"]["#VirtualMedia.InsertMedia"]["@Redfish.ActionInfo"]).json
    own = {p["Name"]: p["AllowableValues"] for p in info["Oem"]["NbdProxy"]["Parameters"]}
    assert own["Reset"] == reset["ResetType@Redfish.AllowableValues"]
    assert client.patch(SYSTEM, override(Target="Cd", Enabled="Once", Mode="UEFI")).status == 200
    assert boot(client) == ("Cd", "Once", "UEFI")
    for kind in reset["ResetType@Redfish.AllowableValues"]:
        assert client.post(RESET, {"ResetType": kind}).status == 204
    assert hook.calls() == ["boot Cd Once UEFI", "reset On", "reset ForceOff", "reset GracefulShutdown",
                            "reset GracefulRestart", "reset ForceRestart"]
    log = started.log()
    assert 'audit: host reset: user="operator" peer="127.0.0.1" detail="ForceOff"' in log
    assert 'audit: host boot: user="operator" peer="127.0.0.1" detail="Cd Once UEFI"' in log


def test_each_power_state_and_its_tag(started, hook):
    client = Client(started, "reader")
    tags = set()
    for power in ("On", "Off", "PoweringOn", "PoweringOff", "Paused", "Unknown"):
        hook.state(f"PowerState {power}\n{CAN}")
        wanted = None if power == "Unknown" else power
        system = wait_for(lambda: (s := client.get(SYSTEM).json)["PowerState"] == wanted and s, power)
        tags.add(system["@odata.etag"])
    assert len(tags) == 6


def test_an_override_stays_or_is_for_once(started, hook):
    client = Client(started, "operator")
    for enabled, after in (("Continuous", ("Usb", "Continuous")), ("Once", ("None", "Disabled")),
                           ("Disabled", ("Usb", "Disabled"))):
        assert client.patch(SYSTEM, override(Target="Usb", Enabled=enabled)).status == 200
        assert boot(client)[:2] == ("Usb", enabled)
        assert client.post(RESET, {"ResetType": "ForceRestart"}).status == 204
        assert boot(client)[:2] == after
    hook.state("PowerState On\n" + CAN + "Boot Hdd Continuous Legacy\n") # now it tells by itself
    wait_for(lambda: boot(client) == ("Hdd", "Continuous", "Legacy"), "the platform's word")
    hook.calls()
    assert client.patch(SYSTEM, override(Enabled="Disabled")).status == 200 # the rest stays
    assert client.patch(SYSTEM, override(Mode="UEFI")).status == 200
    assert hook.calls() == ["boot Hdd Disabled Legacy", "boot Hdd Continuous UEFI"]


# --- Redfish: what is refused ---


def test_values_that_are_not_there(started, hook):
    client = Client(started, "operator")
    for body, wanted, about in ((override(Target="Floppy"), "PropertyValueNotInList", "Target"),
                                (override(Target="cd"), "PropertyValueNotInList", "Target"),
                                (override(Enabled="Twice"), "PropertyValueNotInList", "Enabled"),
                                (override(Target="Cd", Mode="Unknown"), "PropertyValueNotInList", "Mode"),
                                (override(Target=7), "PropertyValueTypeError", "Target"),
                                (override(Target=None), "PropertyValueTypeError", "Target"),
                                (override(Colour="red"), "PropertyUnknown", "Colour")):
        answer = client.patch(SYSTEM, body)
        assert (answer.status, answer.ids) == (400, [wanted]), body
        assert answer.messages[0]["RelatedProperties"] == [f"#/Boot/BootSourceOverride{about}"]
    for body, wanted in (({"Boot": "Cd"}, "PropertyValueTypeError"), ({"Boot": {}}, "EmptyJSON"), ({}, "EmptyJSON"),
                         ({"PowerState": "Off"}, "PropertyNotWritable"), ({"AssetTag": "x"}, "PropertyUnknown")):
        answer = client.patch(SYSTEM, body)
        assert (answer.status, answer.ids) == (400, [wanted]), body
    for body, wanted in (({}, "ActionParameterMissing"), (None, "ActionParameterMissing"),
                         ({"ResetType": "Nmi"}, "ActionParameterValueNotInList"),
                         ({"ResetType": "On; reboot"}, "ActionParameterValueNotInList"),
                         ({"ResetType": ["On"]}, "ActionParameterValueTypeError"),
                         ({"ResetType": "On", "Delay": 1}, "ActionParameterUnknown")):
        answer = client.post(RESET, body)
        assert (answer.status, answer.ids) == (400, [wanted]), body
    assert hook.calls() == []
    mixed = client.patch(SYSTEM, {**override(Target="Cd", Enabled="Once"), "AssetTag": "x"}) # what can be done is
    assert mixed.status == 200 and mixed.json["Boot"]["BootSourceOverrideTarget"] == "Cd"
    assert mixed.json["@Message.ExtendedInfo"][0]["MessageId"].endswith(".PropertyUnknown")
    assert hook.calls() == ["boot Cd Once"]


def test_who_may(started, hook):
    for user, status in (("reader", 403), ("operator", 204), ("admin", 204)):
        client = Client(started, user)
        assert client.get(SYSTEM).status == 200
        assert client.patch(SYSTEM, override(Target="Cd")).status == (200 if status == 204 else status)
        assert client.post(RESET, {"ResetType": "On"}).status == status
        assert len(hook.calls()) == (0 if status == 403 else 2)
    nobody = Client(started)
    assert nobody.patch(SYSTEM, override(Target="Cd")).status == 401 and nobody.post(RESET, {"ResetType": "On"}).status == 401
    assert hook.calls() == []


def test_conditions(started):
    client = Client(started, "operator")
    etag = client.get(SYSTEM).headers["ETag"]
    assert client.get(SYSTEM, **{"If-None-Match": etag}).status == 304
    assert client.patch(SYSTEM, override(Target="Cd"), **{"If-Match": '"x"'}).status == 412
    assert client.patch(SYSTEM, override(Target="Cd"), **{"If-Match": etag}).status == 200
    assert client.patch(SYSTEM, override(Target="Usb"), **{"If-Match": etag}).status == 412
    assert client.send("HEAD", SYSTEM).status == 200
    assert client.get(RESET).headers["Allow"] == "POST"


# --- platforms that can do less, or nothing ---


def test_without_a_hook(own):
    d = own()
    client = Client(d, "operator")
    system = client.get(SYSTEM).json
    assert (system["PowerState"], system["Boot"], system["Actions"]) == (None, {}, {})
    status = system["Status"]
    assert status["Health"] == "OK" and [c["MessageId"] for c in status["Conditions"]] == ["NbdProxy.1.0.HostNotConfigured"]
    answer = client.patch(SYSTEM, override(Target="Cd"))
    assert (answer.status, answer.ids) == (400, ["HostBootNotSupported"])
    assert "[host]" in answer.messages[0]["Resolution"]
    answer = client.post(RESET, {"ResetType": "On"})
    assert (answer.status, answer.ids) == (400, ["ActionNotSupported"])
    assert "[host]" in answer.messages[0]["Resolution"]
    for command in ("host status", "host reset On", "host boot Cd"):
        assert "set hook or dbus in section [host]" in d.error(command)


def test_a_board_with_buttons_only(started, hook):
    """No boot source, no modes."""
    client = Client(started, "operator")
    hook.state("PowerState Off\nResetTypes On PushPowerButton\n")
    system = wait_for(lambda: (s := client.get(SYSTEM).json)["PowerState"] == "Off" and s, "the state")
    assert system["Boot"] == {}
    assert client.patch(SYSTEM, override(Target="Cd")).ids == ["HostBootNotSupported"]
    assert client.post(RESET, {"ResetType": "PushPowerButton"}).status == 204
    assert client.post(RESET, {"ResetType": "ForceRestart"}).ids == ["ActionParameterValueNotInList"]
    hook.state("PowerState On\nBootTargets Cd\n")
    system = wait_for(lambda: (s := client.get(SYSTEM).json)["Boot"] and s, "the state")
    assert "BootSourceOverrideMode" not in system["Boot"] and system["Actions"] == {}
    assert client.post(RESET, {"ResetType": "On"}).ids == ["ActionNotSupported"]
    assert client.patch(SYSTEM, override(Mode="UEFI")).ids == ["PropertyUnknown"]
    assert client.patch(SYSTEM, override(Target="Cd", Enabled="Once", Mode="UEFI")).status == 200
    assert hook.calls() == ["reset PushPowerButton", "boot Cd Once"]


# --- hooks that fail ---


@pytest.mark.parametrize("does,status,wanted,words", [
    ("echo no such board >&2; exit 1", 500, "HostFailed", "ended with 1: no such board"),
    ("exit 64", 400, "HostCannot", "ended with 64"),
    ("exit 75", 503, "HostNotNow", "ended with 75"),
    ("kill -SEGV $$", 500, "HostFailed", "killed by signal 11"),
    ("sleep 60", 503, "HostNotNow", "took longer than 500ms (host-timeout)"),
], ids=["fails", "can't", "not now", "dies", "hangs"])
def test_a_change_that_fails(own, hook, does, status, wanted, words):
    d = own(hook.key, f"host.host-timeout={'500ms' if 'host-timeout' in words else '20s'}")
    client = Client(d, "operator")
    wait_for(lambda: client.get(SYSTEM).json["PowerState"] == "On", "the platform")
    hook.does(does)
    for answer in (client.post(RESET, {"ResetType": "On"}), client.patch(SYSTEM, override(Target="Cd", Enabled="Once"))):
        assert (answer.status, answer.ids) == (status, [wanted])
        assert words in answer.messages[0]["Message"] and answer.messages[0]["Resolution"]
        assert ("Retry-After" in answer.headers) == (status == 503)
    assert words in d.error("host reset On")
    hook.does("exit 0")
    assert boot(client)[:2] == ("None", "Disabled")
    assert client.post(RESET, {"ResetType": "On"}).status == 204


def test_a_platform_that_does_not_tell(own, hook):
    hook.state("PowerState Sideways\n")
    d = own(hook.key)
    client = Client(d, "operator")
    system = client.get(SYSTEM).json
    assert (system["PowerState"], system["Boot"], system["Actions"]) == (None, {}, {})
    assert system["Status"]["Health"] == "Warning"
    assert "PowerState: Sideways" in system["Status"]["Conditions"][0]["Message"]
    for answer in (client.post(RESET, {"ResetType": "On"}), client.patch(SYSTEM, override(Target="Cd"))):
        assert (answer.status, answer.ids) == (500, ["HostFailed"])
        assert "Sideways" in answer.messages[0]["Message"]
    assert client.get(SLOT).status == 200 # the media are another matter
    hook.state()
    wait_for(lambda: client.get(SYSTEM).json["PowerState"] == "On", "the state")
    assert d.log().count("the platform does not tell its state") == 1


def test_nobody_else_waits_for_a_slow_hook(started, hook):
    client = Client(started, "operator")
    hook.does("sleep 3; echo done >>calls")
    thread = threading.Thread(target=client.post, args=(RESET, {"ResetType": "On"}))
    thread.start()
    wait_for(lambda: (hook.folder / "calls").exists(), "the hook")
    assert client.get(SLOT).status == 200 and started.ok("status")
    assert hook.calls() == ["reset On"] # it is not done
    thread.join()


def test_a_client_that_goes_away(started, hook):
    """What it began is done, and the daemon lives."""
    client = Client(started, "operator")

    def begin(method, path, body=""):
        c = http.client.HTTPSConnection("127.0.0.1", client.port, context=ssl._create_unverified_context())
        c.request(method, path, body, client.always)
        return c

    def has(text):
        path = hook.folder / "calls"
        return path.exists() and text in path.read_text()

    hook.does("sleep 0.5; echo done >>calls")
    for began, start in (("reset On", lambda: begin("POST", RESET, '{"ResetType": "On"}')),
                         ("boot Cd", lambda: begin("PATCH", SYSTEM, '{"Boot": {"BootSourceOverrideTarget": "Cd"}}')),
                         ("reset On", lambda: started.connect())):
        c = start()
        if isinstance(c, socket.socket):
            c.sendall(b"host reset On\n")
        wait_for(lambda: has(began), "the hook")
        c.close()
        wait_for(lambda: has("done"), "its end")
        assert len(hook.calls()) == 2
    hook.path.write_text(HOOK.replace("cat state", "echo get >>calls; sleep 0.5; cat state"))
    time.sleep(1.1) # what it told before is old then
    c = begin("GET", SYSTEM)
    wait_for(lambda: has("get"), "the hook")
    c.close()
    assert client.get(SYSTEM).json["PowerState"] == "On"


def test_the_daemon_ends_in_the_middle(started, hook):
    client = Client(started, "operator")
    hook.does("trap 'echo let go >>calls; exit 1' TERM; sleep 60 & wait")
    answers = []

    def ask():
        try:
            answers.append(client.post(RESET, {"ResetType": "On"}).status)
        except (http.client.HTTPException, OSError):
            answers.append(None)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_for(lambda: (hook.folder / "calls").exists(), "the hook")
    started.stop()
    for thread in threads:
        thread.join()
    assert len(answers) == 3 and 204 not in answers
    assert hook.calls() == ["reset On", "let go"]


# --- the control socket ---


def test_the_control_socket(started, hook):
    assert started.ok("host status")[:-1] == ("PowerState On\nBoot None Disabled\n" + CAN).splitlines()
    assert started.ok("host reset ForceRestart")[-1] == "ok: reset ForceRestart"
    assert started.ok("host boot Cd")[-1] == "ok: boot Cd Once"
    assert started.ok("host boot Hdd Continuous Legacy")[-1] == "ok: boot Hdd Continuous Legacy"
    assert started.ok("host status")[1] == "Boot Hdd Continuous Legacy"
    assert hook.calls() == ["reset ForceRestart", "boot Cd Once", "boot Hdd Continuous Legacy"]
    for command in ("host", "host reset", "host boot", "host status now", "host eject"):
        assert "usage: host" in started.error(command)
    for command, words in (("host reset Sometimes", "expected On, ForceOn, "), ("host boot Tape", "expected None, Pxe, "),
                           ("host boot Cd Twice", "expected Once, Continuous or Disabled"),
                           ("host boot Cd Once BIOS", "expected UEFI or Legacy")):
        assert words in started.error(command)
    assert "does not offer reset Nmi" in started.error("host reset Nmi")
    assert "does not offer boot Floppy" in started.error("host boot Floppy")
    assert hook.calls() == []


# --- insert, boot from it, reset ---


def test_insert_boot_and_reset_by_the_control_socket(started, hook, nginx):
    url = nginx.url("image.iso")
    assert started.ok(f"insert 0 {url} boot-once reset")[-1] == (
        "ok: slot0: inserted image.iso, 6000123 bytes, read-only; the host's next boot is from it; "
        "the host was reset: ForceRestart")
    started.ok(f"insert 1 {url} reset=On boot-once")
    assert hook.calls() == ["boot Cd Once", "reset ForceRestart", "boot Usb Once", "reset On"]
    started.ok("eject 0")
    started.ok(f"insert 0 {url} boot-once")
    started.ok("eject 0")
    started.ok(f"insert 0 {url} reset")
    started.ok("eject 0")
    assert hook.calls() == ["boot Cd Once", "reset ForceRestart"]
    assert "404" in started.error(f"insert 0 {nginx.url('nothing.iso')} boot-once reset")
    assert "nothing was inserted: the platform does not offer reset Nmi" in started.error(f"insert 0 {url} reset=Nmi")
    assert 'unknown reset type "Sometimes" (expected On, ' in started.error(f"insert 0 {url} reset=Sometimes")
    assert started.slot()["state"] == "empty" and hook.calls() == []
    hook.does('[ "$1" = boot ]')
    assert "slot0: the medium is inserted, and the host's next boot is from it, but the host was not reset: " in started.error(
        f"insert 0 {url} boot-once reset")
    assert started.slot()["state"] == "ready"
    started.ok("eject 0")
    hook.does("exit 1")
    assert "the medium is inserted, but the host's boot source was not set and it was not reset: " in started.error(
        f"insert 0 {url} boot-once reset")
    assert started.slot()["state"] == "ready"


OEM = {"Oem": {"NbdProxy": {"BootOnce": True, "Reset": "ForceRestart"}}}


def test_insert_boot_and_reset_by_redfish(started, hook, nginx):
    client = Client(started, "operator")
    url = nginx.url("image.iso")
    for slot, target in ((0, "Cd"), (1, "Usb")):
        insert = INSERT.replace("Slot_0", f"Slot_{slot}")
        assert client.post(insert, {"Image": url, **OEM}).status == 204
        assert client.slot(slot)["Inserted"]
        assert hook.calls() == [f"boot {target} Once", "reset ForceRestart"]
        assert client.post(insert, {"Image": url, **OEM}).status == 204 # it is in: the rest is done again
        assert hook.calls() == [f"boot {target} Once", "reset ForceRestart"]
    assert client.post(INSERT, {"Image": url}).status == 204 and hook.calls() == []
    assert client.post(INSERT, {"Image": url, "Oem": {"NbdProxy": {"BootOnce": False}}}).status == 204 and hook.calls() == []
    log = started.log()
    assert log.index('audit: insert: user="operator"') < log.index('audit: host boot: user="operator"') < log.index(
        'audit: host reset: user="operator"')


def test_who_asks_again_while_it_runs_does_not_reset_the_host_twice(started, hook, nginx):
    client, url = Client(started, "operator"), nginx.url("image.iso")
    (hook.folder / "hold").touch()
    hook.does("while test -e hold; do sleep 0.02; done")
    doors = (lambda: client.post(INSERT, {"Image": url, **OEM}).status, lambda: client.patch(SLOT, {"Image": url, **OEM}).status)
    with concurrent.futures.ThreadPoolExecutor(12) as pool: # more than changes may wait
        asked = [pool.submit(doors[i % 2]) for i in range(12)]
        wait_for(lambda: started.log().count("audit: host boot: ") == 12, "all to have asked")
        (hook.folder / "hold").unlink()
        assert [one.result() for one in asked] == [204] * 12
    assert hook.calls() == ["boot Cd Once", "reset ForceRestart"]
    (hook.folder / "hold").touch()
    hook.does("while test $1 = reset -a -e hold; do sleep 0.02; done")
    with concurrent.futures.ThreadPoolExecutor(2) as pool: # by then it is a wish of its own
        asked = [pool.submit(doors[0])]
        wait_for(lambda: (hook.folder / "calls").exists() and "reset" in (hook.folder / "calls").read_text(), "the reset")
        asked.append(pool.submit(doors[1])) # whose boot source is set already
        wait_for(lambda: started.log().count("audit: host boot: ") == 14, "the other to have asked")
        (hook.folder / "hold").unlink()
        assert [one.result() for one in asked] == [204] * 2
    assert hook.calls() == ["boot Cd Once", "reset ForceRestart"]


def test_one_request_gives_a_machine_its_arguments_and_boots_it(started, hook, nginx, www, tmp_path):
    """What a provisioner does in three steps or more: an image for one machine, its network, and the boot from it."""
    (www / "provision.iso").write_bytes(Disc(tmp_path).image.read_bytes())
    client = Client(started, "operator")
    arguments = ("rs.uuid=7a1c provisioner.ip=192.0.2.7/24 provisioner.gw=192.0.2.1 provisioner.interface=eno1 "
                 "provisioner.dns=192.0.2.53,192.0.2.54 "
                 "ip=192.0.2.7::192.0.2.1:255.255.255.0::eno1:off:192.0.2.53:192.0.2.54")
    network = {"address": "192.0.2.7", "netmask": "255.255.255.0", "gateway": "192.0.2.1", "interface": "eno1",
               "dns": "192.0.2.53,192.0.2.54"}
    wish = {"KernelArguments": "rs.uuid={uuid}", "UUID": "7a1c", "NetworkData": {"prov": network}, "NetworkKind": "provisioner",
            "MenuTimeout": "PT0S", "BootOnce": True, "Reset": "ForceRestart"}
    assert client.post(INSERT, {"Image": nginx.url("provision.iso"), "Oem": {"NbdProxy": wish}}).status == 204
    assert hook.calls() == ["boot Cd Once", "reset ForceRestart"]
    subprocess.run(["nbdcopy", started.uri(), tmp_path / "read"], check=True)
    entry = f"set timeout=0\nmenuentry 'Install' {{\n\tlinux /boot/vmlinuz quiet --- {arguments}\n".encode()
    assert entry in (tmp_path / "read").read_bytes()


def test_a_patch_does_it_too(started, hook, nginx):
    client = Client(started, "operator")
    url = nginx.url("image.iso")
    assert client.patch(SLOT, {"Image": url, **OEM}).status == 204
    assert hook.calls() == ["boot Cd Once", "reset ForceRestart"]
    assert client.patch(SLOT, {"Image": url, "Oem": {"Hpe": {"BootOnNextServerReset": True}}}).status == 204
    assert hook.calls() == ["boot Cd Once"]
    assert client.patch(SLOT, {"Image": url, "Oem": {"Hpe": {"BootOnNextServerReset": False}}}).status == 204
    assert client.patch(SLOT, OEM).ids == ["PropertyMissing"]
    assert client.patch(SLOT, {"Oem": {"NbdProxy": {"State": "empty"}}}).ids == ["PropertyNotWritable"]
    assert client.patch(SLOT, {"Oem": {"NbdProxy": {"BootOnce": 1}}}).ids == ["PropertyValueTypeError"]
    mixed = client.patch(SLOT, {"Image": url, "Oem": {"Contoso": {"Colour": 1}}})
    notes = [m["MessageId"].rpartition(".")[2] for m in mixed.json["@Message.ExtendedInfo"]]
    assert mixed.status == 200 and "PropertyUnknown" in notes and hook.calls() == []


def test_steps_that_can_not_be_taken(started, hook, nginx):
    client = Client(started, "operator")
    image = {"Image": nginx.url("image.iso")}
    for oem, wanted in (({"BootOnce": "yes"}, "ActionParameterValueTypeError"), ({"Reset": True}, "ActionParameterValueTypeError"),
                        ({"Reset": "Sometimes"}, "ActionParameterValueNotInList"), ({"Colour": 1}, "ActionParameterUnknown"),
                        ({"Reset": "Nmi"}, "HostCannot"), ("x", "ActionParameterValueTypeError")):
        answer = client.post(INSERT, {**image, "Oem": {"NbdProxy": oem}})
        assert (answer.status, answer.ids) == (400, [wanted]), oem
    assert client.post(INSERT, {**image, "Oem": {"Contoso": {}}}).ids == ["ActionParameterUnknown"]
    assert client.post(INSERT, {"Image": nginx.url("nothing.iso"), **OEM}).ids == ["ImageNotFound"]
    assert client.post(INSERT, OEM).ids == ["ActionParameterMissing"]
    assert not client.slot()["Inserted"] and hook.calls() == []
    hook.does("echo broken >&2; exit 1")
    answer = client.post(INSERT, {**image, **OEM})
    assert (answer.status, answer.ids) == (500, ["InsertedButNotBooted"])
    assert "the medium is inserted, but the host's boot source was not set and it was not reset: " in answer.messages[0]["Message"]
    assert "ended with 1: broken" in answer.messages[0]["Message"] and "stays inserted" in answer.messages[0]["Resolution"]
    assert client.slot()["Inserted"] and hook.calls() == ["boot Cd Once"]
    hook.does('[ "$1" = boot ] || exit 75')
    answer = client.post(INSERT, {**image, **OEM})
    assert (answer.status, answer.ids) == (503, ["InsertedButNotBooted"]) and "Retry-After" in answer.headers
    assert "and the host's next boot is from it, but the host was not reset" in answer.messages[0]["Message"]
    hook.does("exit 0")
    assert client.post(INSERT, {**image, **OEM}).status == 204


def test_steps_without_a_hook(own, nginx):
    d = own()
    client = Client(d, "operator")
    answer = client.post(INSERT, {"Image": nginx.url("image.iso"), **OEM})
    assert (answer.status, answer.ids) == (400, ["HostCannot"]) and "[host]" in answer.messages[0]["Message"]
    assert "nothing was inserted" in d.error(f"insert 0 {nginx.url('image.iso')} boot-once")
    assert not client.slot()["Inserted"]


def test_a_client_that_does_not_wait_for_the_steps(started, hook, nginx):
    client = Client(started, "operator")
    hook.does("sleep 0.3")
    c = http.client.HTTPSConnection("127.0.0.1", client.port, context=ssl._create_unverified_context())
    c.request("POST", INSERT, f'{{"Image": "{nginx.url("image.iso")}", "Oem": {{"NbdProxy": {{"BootOnce": true, "Reset": "On"}}}}}}',
              client.always)
    wait_for(lambda: (hook.folder / "calls").exists(), "the hook")
    c.close()
    wait_for(lambda: (hook.folder / "calls").read_text() == "boot Cd Once\nreset On\n", "the reset")
    assert client.slot()["Inserted"]


# --- the configuration ---


def test_a_hook_that_others_could_change_is_refused(folder, hook):
    def check(path):
        done = subprocess.run([binary(), "--no-config", "--check-config", "--set", f"host.hook={path}"], capture_output=True,
                              text=True, timeout=60)
        return done.returncode, done.stderr

    assert check(hook.path) == (0, "")
    for path, words in (("platform/hook", "give an absolute path"), (folder / "nothing", "can't be found"),
                        (hook.folder, "is not a regular file"), (hook.folder / "state", "can't be executed (chmod +x")):
        code, error = check(path)
        assert code == 78 and error.startswith("nbd-proxy: host: hook: ") and words in error
    hook.path.chmod(0o757)
    assert "may be written by others (chmod go-w" in check(hook.path)[1]
    hook.path.chmod(0o755)
    hook.folder.chmod(0o777)
    assert "to which everybody may write (chmod o-w" in check(hook.path)[1]
    hook.folder.chmod(0o775)
    assert "to which its group may write (chmod o-w,g-w" in check(hook.path)[1]
    done = subprocess.run([binary(), "--no-config", "--check-config", "--set", f"host.hook={hook.path}", "--set",
                           "host.dbus=system"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 78 and "exclude each other" in done.stderr


def test_a_hook_by_reload(daemon, hook):
    base = "[slot slot0]\n[slot slot1]\n"
    d = daemon(config=base)
    assert "[host]" in d.error("host status")
    d.config.write_text(f"{base}[host]\nhook = {hook.path}\n")
    d.ok("reload")
    assert d.ok("host status")[0] == "PowerState On"
    hook.path.chmod(0o777)
    assert "nothing was changed: " in d.error("reload") and "may be written by others" in d.error("reload")
    assert "may be written by others" in d.error("host reset On")
    hook.path.chmod(0o755)
    assert d.ok("host reset On")
    d.config.write_text(base)
    d.ok("reload")
    assert "[host]" in d.error("host status")


def test_the_hook_inherits_nothing(folder, hook, monkeypatch):
    monkeypatch.setenv("CANARY", "SECRET")
    hook.does("env >environment; ls -l /proc/self/fd >open; exit 0")
    inherited = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    place = folder / "d"
    place.mkdir()
    command = [binary(), "--no-config", "--set", f"daemon.runtime-dir={place}", "--set", hook.key]
    with open(place / "log", "wb") as log:
        process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL, close_fds=False)
    try:
        wait_for((place / "control.sock").exists, "the daemon")
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(place / "control.sock"))
            s.sendall(b"host reset On\n")
            assert s.recv(100).startswith(b"ok")
    finally:
        os.close(inherited)
        process.terminate()
        assert process.wait(60) == 0
    environment = (hook.folder / "environment").read_text()
    assert "CANARY" not in environment and {line.split("=")[0] for line in environment.splitlines()} <= {
        "PATH", "LC_ALL", "PWD", "OLDPWD", "_", "SHLVL"}
    opened = [line.split()[-3:] for line in (hook.folder / "open").read_text().splitlines()[1:]]
    # 3: the folder that ls reads; 10: the script that its shell reads
    assert {fd for fd, _, _ in opened} <= {"0", "1", "2", "3", "10"}, opened
    assert ["0", "->", "/dev/null"] in opened


# --- the hooks that we bring ---


def test_the_hook_for_gpio_lines(tmp_path):
    """Against gpioget and gpioset that note what they are told."""
    def run(*words):
        done = subprocess.run([TOP / "packaging" / "hooks" / "gpio", *words], capture_output=True, text=True,
                              env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, timeout=20)
        path = tmp_path / "calls"
        told = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return done.returncode, done.stdout, told

    def tool(name, text):
        (tmp_path / name).write_text("#!/bin/sh\n" + text)
        (tmp_path / name).chmod(0o755)

    tool("gpioset", f'echo "$*" >>{tmp_path}/calls\n')
    short, long, reset = (["-c gpiochip0 -t 500ms,0 23=1"], ["-c gpiochip0 -t 5500ms,0 23=1"], ["-c gpiochip0 -t 500ms,0 27=1"])
    for level, power, wanted in (("1", "On", {"On": [], "ForceOff": long, "GracefulShutdown": short, "PushPowerButton": short,
                                              "ForceRestart": reset}),
                                 ("0", "Off", {"On": short, "ForceOff": [], "GracefulShutdown": [], "PushPowerButton": short,
                                               "ForceRestart": short})):
        tool("gpioget", f'[ "$*" = "-c gpiochip0 --numeric 24" ] && echo {level}\n')
        assert run("get") == (0, f"PowerState {power}\nResetTypes On ForceOff GracefulShutdown ForceRestart PushPowerButton\n", [])
        for kind, told in wanted.items():
            assert run("reset", kind) == (0, "", told), (power, kind)
    assert run("reset", "Nmi")[0] == run("boot", "Cd", "Once")[0] == 64
    tool("gpioset", "exit 3\n")
    assert run("reset", "PushPowerButton")[0] == 3


# --- unmodified programs ---


def test_sushy(started, hook):
    sushy = pytest.importorskip("sushy", reason="needs python3-sushy")
    warnings.simplefilter("ignore")
    root = sushy.Sushy(f"https://127.0.0.1:{port_of(started)}", verify=False,
                       auth=sushy.auth.BasicAuth("operator", PASSWORDS["operator"]))
    system = root.get_system(SYSTEM)
    assert system.power_state == sushy.PowerState.ON
    assert sushy.RESET_FORCE_RESTART in system.get_allowed_reset_system_values()
    system.set_system_boot_source(sushy.BootSource.CD, enabled=sushy.BootSourceOverrideEnabled.ONCE,
                                  mode=sushy.BootSourceOverrideMode.UEFI)
    system.refresh()
    assert (system.boot.target, system.boot.enabled, system.boot.mode) == (
        sushy.BootSource.CD, sushy.BootSourceOverrideEnabled.ONCE, sushy.BootSourceOverrideMode.UEFI)
    system.reset_system(sushy.RESET_FORCE_RESTART)
    system.refresh()
    assert (system.boot.target, system.boot.enabled) == (sushy.BootSource.NONE, sushy.BootSourceOverrideEnabled.DISABLED)
    assert hook.calls() == ["boot Cd Once UEFI", "reset ForceRestart"]
    with pytest.raises(sushy.exceptions.InvalidParameterValueError):
        system.reset_system(sushy.RESET_NMI)
    hook.does("exit 1")
    with pytest.raises(sushy.exceptions.ServerSideError, match="ended with 1"):
        system.reset_system(sushy.RESET_ON)


@pytest.mark.skipif(not shutil.which("redfishtool"), reason="needs redfishtool")
def test_redfishtool(started, hook):
    def run(*words):
        return subprocess.run(["redfishtool", "-r", f"127.0.0.1:{port_of(started)}", "-S", "Always", "-u", "operator", "-p",
                               PASSWORDS["operator"], "-A", "Basic", "Systems", "-1", *words], capture_output=True, text=True,
                              timeout=60)

    assert run("setBootOverride", "Once", "Cd").returncode == 0
    assert run("reset", "ForceRestart").returncode == 0
    assert run("setBootOverride", "Continuous", "Pxe").returncode == 0
    assert run("setBootOverride", "Disabled").returncode == 0
    assert run("reset", "Nmi").returncode != 0
    assert run("setBootOverride", "Once", "Floppy").returncode != 0
    assert hook.calls() == ["boot Cd Once", "reset ForceRestart", "boot Pxe Continuous", "boot Pxe Disabled"]
