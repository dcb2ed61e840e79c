"""What a service manager is told: readiness, a line for its status, that the loop turns, and the end."""
import re
import signal
import socket
import subprocess
import time

import pytest

from conftest import binary, wait_for


def is_built_with(what):
    told = subprocess.run([binary(), "doctor", "--no-config"], capture_output=True, text=True).stdout
    return re.search(rf"^built with:.* {what}\b", told, re.M)


class Manager:
    """It listens where systemd would, and asks for a sign of life each second."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)
        self.told = []

    def heard(self):
        """All that was told so far."""
        while True:
            try:
                self.told += self.socket.recv(65536).decode().splitlines()
            except BlockingIOError:
                return self.told

    def since(self):
        """What is told from now on."""
        self.heard()
        self.told = []


@pytest.fixture
def manager(folder, monkeypatch):
    m = Manager(folder)
    monkeypatch.setenv("NOTIFY_SOCKET", m.path)
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    yield m
    m.socket.close()


@pytest.mark.skipif(not is_built_with("systemd"), reason="built without libsystemd")
@pytest.mark.smoke
def test_what_systemd_is_told(daemon, manager, nginx, ca):
    d = daemon(ca)
    wait_for(lambda: "READY=1" in manager.heard(), "READY=1")
    wait_for(lambda: "STATUS=slot0: empty; slot1: empty" in manager.heard(), "the status")
    d.ok(f"insert 0 {nginx.url('image.iso')}")
    wait_for(lambda: "STATUS=slot0: ready, image.iso; slot1: empty" in manager.heard(), "the medium in it")
    manager.since()
    wait_for(lambda: manager.heard().count("WATCHDOG=1") > 2, "signs of life")
    d.process.send_signal(signal.SIGSTOP)  # its loop does not turn any more
    time.sleep(0.1)
    manager.since()
    time.sleep(1.2)  # longer than the manager would wait
    assert manager.heard() == []
    d.process.send_signal(signal.SIGCONT)
    wait_for(lambda: "WATCHDOG=1" in manager.heard(), "a sign of life")
    d.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "RELOADING=1" in manager.heard() and "READY=1" in manager.heard(), "the reload")
    d.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "STOPPING=1" in manager.heard(), "the end")
    d.stop(None)
