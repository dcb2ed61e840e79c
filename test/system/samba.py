"""A Samba of our own, on a port that the kernel chose."""
import getpass
import os
import shutil
import subprocess

from conftest import free_port, wait_for

USER = getpass.getuser()
PASSWORD = "Päss wörd 1"


def missing():
    """Why there can be none; None: there can."""
    if not (shutil.which("smbd") and shutil.which("pdbedit")):
        return "there is no Samba"
    if os.getuid() != 0:
        return "smbd needs root"
    return None


class Samba:
    """Shares of `files`: user (a password), open (guests too), sealed (encrypted only), limited (nobody). `inside`: what
    makes a command run in another network."""

    def __init__(self, folder, files, *settings, user=USER, port=None, inside=lambda *command: command):
        self.folder, self.files, self.settings, self.inside = folder, files, settings, inside
        self.port = port or free_port()
        self.process = None
        for name in ("private", "lock", "state", "cache", "pid", "ncalrpc"):
            (folder / name).mkdir(mode=0o755)
        self.write_configuration()
        self.add_user(user)
        self.start()

    def write_configuration(self):
        folder, lines = self.folder, ["[global]", *self.settings]
        lines += [f"{key} = {folder}/{name}" for key, name in (
            ("private dir", "private"), ("lock directory", "lock"), ("state directory", "state"), ("pid directory", "pid"),
            ("cache directory", "cache"), ("ncalrpc dir", "ncalrpc"), ("log file", "log"),
            ("passdb backend", "private/passdb.tdb"))]
        lines = [line.replace("passdb backend = ", "passdb backend = tdbsam:") for line in lines]
        lines += [f"smb ports = {self.port}", "interfaces = 127.0.0.1/8", "bind interfaces only = yes",
                  "workgroup = TESTGROUP", "netbios name = TESTSERVER", "server role = standalone server",
                  "disable netbios = yes", "load printers = no", "printing = bsd", "printcap name = /dev/null",
                  "disable spoolss = yes", "map to guest = bad user", "log level = 1", "max log size = 0"]
        for name, *more in (("user", f"valid users = {USER}"), ("open", "guest ok = yes"),
                            ("sealed", f"valid users = {USER}", "server smb encrypt = required"),
                            ("limited", "valid users = nobody")):
            lines += [f"[{name}]", f"path = {self.files}", "force user = root", "read only = yes", *more]
        (folder / "smb.conf").write_text("\n".join(lines) + "\n")

    def add_user(self, user):
        subprocess.run(["pdbedit", "-s", self.folder / "smb.conf", "-a", "-t", "-u", user], check=True, capture_output=True,
                       input=f"{PASSWORD}\n{PASSWORD}\n".encode())

    def start(self):
        self.process = subprocess.Popen(
            self.inside("smbd", "--foreground", "--no-process-group", f"--configfile={self.folder}/smb.conf"),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        wait_for(self.is_up, "Samba")

    def is_up(self):
        assert self.process.poll() is None, self.log()
        probe = f"import socket; socket.create_connection(('127.0.0.1', {self.port}), 1)"
        return subprocess.run(self.inside("python3", "-c", probe), stderr=subprocess.DEVNULL).returncode == 0

    def log(self):
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self):
        """With the children that serve connections."""
        if self.process:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            self.process = None

    def url(self, path="image.iso", share="user", port=None):
        return f"smb://127.0.0.1:{port or self.port}/{share}/{path}"
