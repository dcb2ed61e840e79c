"""A D-Bus bus of the test's own, and a client of it that keeps the signals it got."""
import contextlib
import os
import random
import socket
import subprocess
import threading

import dbus
import dbus.bus
import dbus.mainloop.glib
import pytest
from gi.repository import GLib

from browser import CUT, Browser, Ended, Image
from conftest import wait_for

NAME = "xyz.openbmc_project.VirtualMedia"
ROOT = "/xyz/openbmc_project/VirtualMedia"
PREFIX = NAME + "."
PROPERTIES = "org.freedesktop.DBus.Properties"
MANAGER = "org.freedesktop.DBus.ObjectManager"
PROXY, LEGACY = ROOT + "/Proxy/Slot_0", ROOT + "/Legacy/Slot_2"
NOBODY = dbus.Int32(-1)
MAIN_LOOP = dbus.mainloop.glib.DBusGMainLoop()

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow user="*"/>
    <allow own="*"/>
  </policy>
  <limit name="max_replies_per_connection">1024</limit>
  {more}
</busconfig>
"""


class Bus:
    def __init__(self, folder, more=""):
        self.path, self.config = folder / "bus", folder / "bus.conf"
        self.config.write_text(CONFIG.format(path=self.path, more=more))
        self.address = f"unix:path={self.path}"
        self.clients, self.process = [], None
        self.start()

    def start(self):
        self.path.unlink(missing_ok=True)
        self.process = subprocess.Popen(["dbus-daemon", f"--config-file={self.config}", "--nofork", "--nopidfile"],
                                        stdin=subprocess.DEVNULL)
        wait_for(self.answers, "the bus")

    def answers(self):
        assert self.process.poll() is None
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(str(self.path))
            return True
        except OSError:
            return False

    def client(self):
        self.clients.append(Client(self.address))
        return self.clients[-1]

    def stop(self):
        for client in self.clients:
            client.connection.close()
        self.clients = []
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)


def plain(value):
    """dbus-python's types as Python's own."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dbus.Boolean):
        return bool(value)
    if isinstance(value, int):
        return int(value)
    return str(value)


class Client:
    """`signals` are (path, interface.member, arguments), in the order in which they came."""

    def __init__(self, address):
        self.connection = dbus.bus.BusConnection(address, mainloop=MAIN_LOOP)
        self.connection.set_exit_on_disconnect(False)
        self.signals = []
        self.connection.add_signal_receiver(self.on_signal, path_keyword="path", interface_keyword="interface",
                                            member_keyword="member")

    def on_signal(self, *arguments, path=None, interface=None, member=None):
        if interface != "org.freedesktop.DBus":
            self.signals.append((path, f"{interface}.{member}", plain(arguments)))

    def turn(self):
        while GLib.MainContext.default().iteration(False):
            pass
        return True

    def wait(self, condition, what, seconds=30):
        return wait_for(lambda: self.turn() and condition(), what, seconds)

    def of(self, path, member):
        self.turn()
        return [arguments for at, name, arguments in self.signals if at == path and name == member]

    def wait_name(self):
        wait_for(lambda: self.connection.name_has_owner(NAME), "the service", 60)
        return self

    def call(self, path, interface, member, signature="", *arguments, timeout=20):
        return plain(self.connection.call_blocking(NAME, path, interface, member, signature, arguments, timeout=timeout))

    def error(self, *call, **how):
        """(the name behind the last dot, the words) of the error that the call is answered with."""
        try:
            answer = self.call(*call, **how)
        except dbus.DBusException as error:
            return error.get_dbus_name().rpartition(".")[2], error.get_dbus_message()
        raise AssertionError(f"it was answered: {answer}")

    def get(self, path, interface, name):
        return self.call(path, PROPERTIES, "Get", "ss", PREFIX + interface, name)

    def objects(self):
        return self.call(ROOT, MANAGER, "GetManagedObjects")

    def completions(self, path):
        return [arguments[0] for arguments in self.of(path, PREFIX + path.split("/")[4] + ".Completion")]

    def completed(self, path, count=1, seconds=30):
        """The newest of so many completions, and not one more."""
        self.wait(lambda: len(self.completions(path)) >= count, f"completion {count} of {path}", seconds)
        assert len(self.completions(path)) == count
        return self.completions(path)[-1]

    def changes(self, path):
        """What the signals PropertiesChanged say, one after the other."""
        return [(name, value) for _, values, _ in self.of(path, PROPERTIES + ".PropertiesChanged")
                for name, value in values.items()]


class Pipe:
    """What Browser takes for its WebSocket: bmcweb's end of the UNIX socket, whose bytes have no frames."""

    def __init__(self, connection):
        self.connection, self.code, self.reason, self.wire = connection, None, "", self

    def send(self, opcode, data, fin=True):
        self.connection.sendall(data)

    def read(self):
        data = self.connection.recv(1 << 18)
        if not data:
            raise Ended
        return data

    def close(self, code=None, reason=""):
        self.code = code
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def cut(self, reset=True):
        self.close(CUT if self.code is None else self.code)
        self.connection.close()


class Bmcweb(Browser):
    """bmcweb with a browser at its WebSocket: it listens on the object's socket before it calls Mount."""

    def __init__(self, client, image, path, **changes):
        self.client, self.object = client, path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.settimeout(30)
        place = client.get(path, "MountPoint", "Socket")
        subprocess.run(["rm", "-f", place], check=True)
        self.listener.bind(place)
        self.listener.listen(1)
        super().__init__(None, image, flavour="jsnbd", begin=False, **changes)

    def mount(self):
        assert self.client.call(self.object, PREFIX + "Proxy", "Mount") is True
        connection, _ = self.listener.accept()
        connection.settimeout(60)
        self.socket = Pipe(connection)
        self.begin()
        return self

    def end(self):
        """Its user closes the page."""
        if self.socket:
            self.socket.close()
        self.listener.close()


# --- for tests ---


@pytest.fixture
def bus(folder, request):
    """Its parameter, if it has one, is more configuration."""
    started = Bus(folder, more=getattr(request, "param", ""))
    yield started
    started.stop()


@pytest.fixture
def served(daemon, bus):
    """A function that starts the daemon on the bus: it, and a client."""

    def start(*arguments, **how):
        d = daemon(f"dbus.bus={bus.address}", "http.stall-timeout=60s", *arguments, **how)
        return d, bus.client().wait_name()

    return start


@contextlib.contextmanager
def stalled_server():
    """A URL whose server takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        taken = []
        thread = threading.Thread(target=lambda: taken.append(s.accept()), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{s.getsockname()[1]}/x.iso"
        with contextlib.suppress(OSError):
            socket.create_connection(s.getsockname(), 1).close()
        thread.join(10)
        for connection, _ in taken:
            connection.close()


def credentials(data, end=True):
    """The end of a pipe that holds them, and the other one."""
    out, into = os.pipe()
    os.write(into, data)
    if end:
        os.close(into)
        into = -1
    return out, into


def mount(client, url, path=LEGACY, writable=False, data=b"\0\0"):
    """As bmcweb does."""
    out, _ = credentials(data)
    try:
        return client.call(path, PREFIX + "Legacy", "Mount", "sbh", url, writable, dbus.types.UnixFd(out))
    finally:
        os.close(out)


class MountLater:
    """A Mount that is answered late, as bmcweb calls it. `answers` has True, or the error's errno-like name."""

    def __init__(self, client, url, path=LEGACY):
        self.answers = []
        client.connection.call_async(NAME, path, PREFIX + "Legacy", "Mount", "sbv", (url, False, NOBODY),
                                     lambda answer: self.answers.append(bool(answer)),
                                     lambda error: self.answers.append(error.get_dbus_name().rpartition(".")[2]), timeout=30)
        client.objects()  # answered behind the Mount

    def wait(self, client):
        client.wait(lambda: self.answers, "the answer")
        return self.answers


def mount_error(client, url="https://localhost/x.iso", path=LEGACY, fd=None, signature="sbh", third=None):
    third = dbus.types.UnixFd(fd) if third is None else third
    return client.error(path, PREFIX + "Legacy", "Mount", signature, url, False, third)


def unmount(client, path=LEGACY):
    return client.call(path, PREFIX + path.split("/")[4], "Unmount")


def unmount_error(client, path=LEGACY):
    return client.error(path, PREFIX + path.split("/")[4], "Unmount")


def some(size, seed=7):
    return Image(random.Random(seed).randbytes(size))
