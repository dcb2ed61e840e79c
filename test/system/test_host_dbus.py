"""The host by OpenBMC's objects on a private D-Bus."""
import os
import shutil
import signal
import subprocess
import time

import pytest

from conftest import TOP, wait_for
from openbmc import BOOT, HOST, XYZ, OpenBmc
from redfish_client import Client, own, users # own and users are fixtures
from test_host import RESET, SYSTEM, boot, override

dbus = pytest.importorskip("dbus", reason="needs python3-dbus")
pytest.importorskip("gi.repository.GLib", reason="needs python3-gi")
pytestmark = pytest.mark.skipif(not shutil.which("dbus-daemon"), reason="needs dbus-daemon")


@pytest.fixture
def openbmc(folder):
    started = []

    def start(*without):
        place = folder / "openbmc"
        place.mkdir()
        started.append(OpenBmc(place, *without).start())
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def platform(openbmc, own):
    o = openbmc()
    d = own(f"host.dbus={o.address}")
    wait_for(lambda: d.ask("host status")[-1] == "ok", "the bus")
    return o, d, Client(d, "operator")


@pytest.mark.smoke
def test_power_boot_and_reset(platform):
    o, d, client = platform
    system = client.get(SYSTEM).json
    assert (system["PowerState"], system["Status"]["Health"]) == ("On", "OK")
    assert boot(client) == ("None", "Disabled", "UEFI")
    assert system["Boot"]["BootSourceOverrideTarget@Redfish.AllowableValues"] == [
        "None", "Pxe", "Cd", "Usb", "Hdd", "BiosSetup", "Diags"]
    assert client.patch(SYSTEM, override(Target="Cd", Enabled="Once", Mode="Legacy")).status == 200
    assert o.boot() == ("ExternalMedia", "Regular", "Legacy", "true", "true")
    assert boot(client) == ("Cd", "Once", "Legacy")
    for kind, host, chassis in (("ForceOff", "On", "Off"), ("On", "On", "Off"), ("GracefulShutdown", "Off", "Off"),
                                ("ForceRestart", "ForceWarmReboot", "Off"), ("PowerCycle", "Reboot", "Off"),
                                ("ForceOn", "On", "Off")):
        assert client.post(RESET, {"ResetType": kind}).status == 204
        assert o.transition() == (host, chassis), kind
    assert d.ok("host boot Usb Continuous")[-1] == "ok: boot Usb Continuous"
    assert o.boot() == ("RemovableMedia", "Regular", "Legacy", "true", "false")


def test_each_boot_source(platform):
    o, d, client = platform
    for target, source, mode in (("Pxe", "Network", "Regular"), ("Cd", "ExternalMedia", "Regular"),
                                 ("Usb", "RemovableMedia", "Regular"), ("Hdd", "Disk", "Regular"),
                                 ("BiosSetup", "Default", "Setup"), ("Diags", "Default", "Safe"),
                                 ("None", "Default", "Regular")):
        assert client.patch(SYSTEM, override(Target=target, Enabled="Continuous", Mode="UEFI")).status == 200
        assert o.boot() == (source, mode, "EFI", "true", "false")
        assert boot(client) == (target, "Continuous", "UEFI")
    assert client.patch(SYSTEM, override(Enabled="Disabled")).status == 200
    assert o.boot()[3] == "false" and boot(client)[1] == "Disabled"


def test_what_the_platform_does_by_itself_is_shown(platform):
    o, d, client = platform
    for state, power in (("Off", "Off"), ("TransitioningToRunning", "PoweringOn"), ("Running", "On"), ("Quiesced", "On"),
                         ("TransitioningToOff", "PoweringOff"), ("Standby", "Off"), ("DiagnosticMode", "On"),
                         ("News", None)):
        o.set("State.Host", HOST, "State.Host", "CurrentHostState", f"{XYZ}State.Host.HostState.{state}")
        wait_for(lambda: client.get(SYSTEM).json["PowerState"] == power, state)
    assert client.patch(SYSTEM, override(Target="Cd", Enabled="Once")).status == 200
    assert boot(client) == ("Cd", "Once", "UEFI")
    o.set("Settings", BOOT, "Object.Enable", "Enabled", "false") # the firmware has taken it
    wait_for(lambda: boot(client)[1] == "Disabled", "the firmware's word")


def test_a_platform_that_refuses(platform):
    o, d, client = platform
    answer = client.post(RESET, {"ResetType": "GracefulRestart"})
    assert (answer.status, answer.ids) == (500, ["HostFailed"])
    assert "RequestedHostTransition of " in answer.messages[0]["Message"] and "not ready" in answer.messages[0]["Message"]
    assert client.post(RESET, {"ResetType": "Nmi"}).ids == ["ActionParameterValueNotInList"]


@pytest.mark.parametrize("without,shows", [
    (("Control.Boot.Type",), ("None", "Disabled", None)),
    (("Object.Enable",), None), (("Control.Boot.Source", "Control.Boot.Mode", "Control.Boot.Type", "Object.Enable"), None),
], ids=["no types", "no switch", "no settings"])
def test_a_platform_without(openbmc, own, without, shows):
    o = openbmc(*without)
    d = own(f"host.dbus={o.address}")
    client = Client(d, "operator")
    wait_for(lambda: client.get(SYSTEM).json["PowerState"] == "On", "the bus")
    if shows:
        assert boot(client) == shows
        assert client.patch(SYSTEM, override(Target="Cd", Enabled="Once")).status == 200
        assert boot(client) == ("Cd", "Once", None)
    else:
        assert client.get(SYSTEM).json["Boot"] == {}
        assert client.patch(SYSTEM, override(Target="Cd")).ids == ["HostBootNotSupported"]
    assert client.post(RESET, {"ResetType": "On"}).status == 204


def test_services_that_hang_go_and_come_back(openbmc, own):
    o = openbmc()
    d = own(f"host.dbus={o.address}", "host.host-timeout=1s")
    client = Client(d, "operator")
    wait_for(lambda: client.get(SYSTEM).json["PowerState"] == "On", "the bus")
    o.objects.send_signal(signal.SIGSTOP)
    answer = client.post(RESET, {"ResetType": "On"})
    assert (answer.status, answer.ids) == (503, ["HostNotNow"])
    assert "did not answer within 1s (host-timeout)" in answer.messages[0]["Message"]
    o.stop_objects()
    wait_for(lambda: client.get(SYSTEM).json["Status"]["Health"] == "Warning", "the end of the services")
    assert client.post(RESET, {"ResetType": "On"}).status == 503
    assert "RequestedHostTransition" in d.error("host reset On")
    o.start_objects()
    wait_for(lambda: client.get(SYSTEM).json["PowerState"] == "On", "the services")
    assert client.post(RESET, {"ResetType": "On"}).status == 204


@pytest.mark.skipif(not shutil.which("busctl"), reason="needs busctl")
def test_the_hook_for_openbmc(openbmc, tmp_path):
    """The one that we bring, on the same objects."""
    o = openbmc()
    (tmp_path / "busctl").write_text(f'#!/bin/sh\nexec {shutil.which("busctl")} --address={o.address} "$@"\n')
    (tmp_path / "busctl").chmod(0o755)

    def run(*words):
        return subprocess.run([TOP / "packaging" / "hooks" / "openbmc", *words], capture_output=True, text=True, timeout=20,
                              env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})

    assert run("get").stdout.splitlines()[:2] == ["PowerState On", "Boot None Disabled"]
    for kind, wanted in (("ForceOff", ("On", "Off")), ("GracefulShutdown", ("Off", "Off")), ("On", ("On", "Off")),
                         ("ForceRestart", ("ForceWarmReboot", "Off")), ("PowerCycle", ("Reboot", "Off"))):
        assert run("reset", kind).returncode == 0
        assert o.transition() == wanted
    assert run("reset", "GracefulRestart").returncode not in (0, 64, 75)
    for target, source, mode in (("Cd", "ExternalMedia", "Regular"), ("BiosSetup", "Default", "Setup"), ("Usb", "RemovableMedia", "Regular")):
        for enabled, flags in (("Once", ("true", "true")), ("Continuous", ("true", "false"))):
            assert run("boot", target, enabled).returncode == 0
            assert o.boot() == (source, mode, "EFI", *flags)
            assert run("get").stdout.splitlines()[1] == f"Boot {target} {enabled}"
    assert run("boot", "Cd", "Disabled").returncode == 0 and run("get").stdout.splitlines()[1] == "Boot Cd Disabled"
    assert run("boot", "Floppy", "Once").returncode == run("reset", "Nmi").returncode == 64


def test_without_a_bus(own, folder):
    d = own(f"host.dbus=unix:path={folder}/nothing")
    client = Client(d, "operator")
    system = client.get(SYSTEM).json
    assert (system["PowerState"], system["Status"]["Health"]) == (None, "Warning")
    answer = client.post(RESET, {"ResetType": "On"})
    assert (answer.status, answer.ids) == (503, ["HostNotNow"]) and "D-Bus can't be reached" in answer.messages[0]["Message"]


def test_the_daemon_ends_in_the_middle(openbmc, own):
    o = openbmc()
    d = own(f"host.dbus={o.address}", "host.host-timeout=2m")
    wait_for(lambda: d.ask("host status")[-1] == "ok", "the bus")
    o.objects.send_signal(signal.SIGSTOP)
    with d.connect() as s:
        s.sendall(b"host reset On\n")
        d.status()  # it was read before that
        begin = time.monotonic()
        d.stop()
        assert time.monotonic() - begin < 60 # not the time that the platform may take
