#!/usr/bin/python3
"""A private D-Bus daemon with OpenBMC's objects for the host, as phosphor-state-manager and
phosphor-settings have them. Run as a program it is their process: openbmc.py ADDRESS LEAVE-OUT..."""
import os
import signal
import subprocess
import sys

from conftest import wait_for

XYZ = "xyz.openbmc_project."
HOST, CHASSIS, BOOT = "/xyz/openbmc_project/state/host0", "/xyz/openbmc_project/state/chassis0", "/xyz/openbmc_project/control/host0/boot"
PROPERTIES = "org.freedesktop.DBus.Properties"
# service, path, interface, property: value at first
OBJECTS = {
    (XYZ + "State.Host", HOST, XYZ + "State.Host"): {
        "CurrentHostState": XYZ + "State.Host.HostState.Running",
        "RequestedHostTransition": XYZ + "State.Host.Transition.On"},
    (XYZ + "State.Chassis", CHASSIS, XYZ + "State.Chassis"): {
        "CurrentPowerState": XYZ + "State.Chassis.PowerState.On",
        "RequestedPowerTransition": XYZ + "State.Chassis.Transition.On"},
    (XYZ + "Settings", BOOT, XYZ + "Control.Boot.Source"): {"BootSource": XYZ + "Control.Boot.Source.Sources.Default"},
    (XYZ + "Settings", BOOT, XYZ + "Control.Boot.Mode"): {"BootMode": XYZ + "Control.Boot.Mode.Modes.Regular"},
    (XYZ + "Settings", BOOT, XYZ + "Control.Boot.Type"): {"BootType": XYZ + "Control.Boot.Type.Types.EFI"},
    (XYZ + "Settings", BOOT, XYZ + "Object.Enable"): {"Enabled": False},
    (XYZ + "Settings", BOOT + "/one_time", XYZ + "Object.Enable"): {"Enabled": True},
}


class OpenBmc:
    """`without`: interfaces that this platform does not have."""

    def __init__(self, folder, *without):
        self.folder = folder
        self.address = f"unix:path={folder}/bus"
        self.without = without
        self.bus = self.objects = None

    def start(self):
        self.bus = subprocess.Popen(["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={self.address}"],
                                    stderr=subprocess.DEVNULL)
        wait_for((self.folder / "bus").exists, "the bus")
        self.start_objects()
        return self

    def start_objects(self):
        self.objects = subprocess.Popen([sys.executable, __file__, self.address, *self.without],
                                        stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(__file__))})
        assert self.objects.stdout.readline() == "ready\n"

    def call(self, *words):
        done = subprocess.run(["dbus-send", f"--bus={self.address}", "--print-reply=literal", *words],
                              capture_output=True, text=True, check=True)
        return done.stdout

    def get(self, service, path, interface, name):
        value = self.call(f"--dest={XYZ}{service}", path, f"{PROPERTIES}.Get", f"string:{XYZ}{interface}", f"string:{name}")
        return value.split()[-1].rpartition(".")[2]

    def set(self, service, path, interface, name, value):
        kind = "boolean" if value in ("true", "false") else "string"
        self.call(f"--dest={XYZ}{service}", path, f"{PROPERTIES}.Set", f"string:{XYZ}{interface}", f"string:{name}",
                  f"variant:{kind}:{value}")

    def boot(self):
        """Source, mode, type, enabled, once."""
        return tuple(self.get("Settings", BOOT, f"Control.Boot.{n}", f"Boot{n}") for n in ("Source", "Mode", "Type")) + (
            self.get("Settings", BOOT, "Object.Enable", "Enabled"),
            self.get("Settings", BOOT + "/one_time", "Object.Enable", "Enabled"))

    def transition(self):
        return (self.get("State.Host", HOST, "State.Host", "RequestedHostTransition"),
                self.get("State.Chassis", CHASSIS, "State.Chassis", "RequestedPowerTransition"))

    def stop_objects(self):
        if self.objects:
            self.objects.send_signal(signal.SIGCONT)
            self.objects.kill()
            self.objects.wait()
            self.objects.stdout.close()
        self.objects = None

    def stop(self):
        self.stop_objects()
        if self.bus:
            self.bus.kill()
            self.bus.wait()
        self.bus = None


def main(address, *without):
    import dbus
    import dbus.mainloop.glib
    import dbus.service
    from gi.repository import GLib

    class Refused(dbus.DBusException):
        _dbus_error_name = "xyz.openbmc_project.State.Host.Error.BMCNotReady"

    class Unknown(dbus.DBusException):
        _dbus_error_name = "org.freedesktop.DBus.Error.UnknownInterface"

    class Object(dbus.service.Object):
        def __init__(self, bus, path, interfaces):
            super().__init__(bus, path)
            self.interfaces = interfaces

        def of(self, interface):
            if interface not in self.interfaces:
                raise Unknown(f"Unknown interface {interface}")
            return self.interfaces[interface]

        @dbus.service.method(PROPERTIES, in_signature="ss", out_signature="v")
        def Get(self, interface, name):
            return self.of(interface)[name]

        @dbus.service.method(PROPERTIES, in_signature="ssv")
        def Set(self, interface, name, value):
            if type(value) is not type(dbus.Boolean(True)) and not isinstance(value, str):
                raise dbus.DBusException(f"wrong type of {name}")
            if name == "RequestedHostTransition" and str(value).endswith(".GracefulWarmReboot"):
                raise Refused("The BMC is not ready")
            self.of(interface)[name] = value

    dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
    bus = dbus.bus.BusConnection(address)
    names, paths = [], {}
    for (service, path, interface), properties in OBJECTS.items():
        if interface.removeprefix(XYZ) not in without:
            names.append(service)
            paths.setdefault(path, {})[interface] = {n: dbus.Boolean(v) if isinstance(v, bool) else v
                                                     for n, v in properties.items()}
    kept = [dbus.service.BusName(name, bus) for name in set(names)]
    kept += [Object(bus, path, interfaces) for path, interfaces in paths.items()]
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
