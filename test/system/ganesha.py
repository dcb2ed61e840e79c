"""A real NFS server, nfs-ganesha, in a network of its own, with the ports that NFS has everywhere; and the way for a
daemon into that network."""
import pathlib
import signal
import subprocess

from conftest import binary, wait_for
from machine import lacks

# Later versions want CAP_SYS_RESOURCE unless Allow_Set_Io_Flusher_Fail is set; older ones (4.3) pass it over.
CONFIG = """
NFS_CORE_PARAM {{ Protocols = {protocols}; NFS_Port = 2049; MNT_Port = 20048; Enable_NLM = false; Enable_RQUOTA = false;
                  fsid_device = true; Allow_Set_Io_Flusher_Fail = true; }}
NFSv4 {{ Graceless = true; }}
EXPORT {{ Export_Id = 7; Path = {files}; Pseudo = {files}; Access_Type = RO; Squash = No_Root_Squash; SecType = sys;
          Protocols = {protocols}; Attr_Expiration_Time = 0; FSAL {{ Name = VFS; }} }}
LOG {{ Default_Log_Level = EVENT; }}
"""
# A network with loopback only; /run and ganesha's state are its own, too.
NETWORK = """mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir -p /run/ganesha /var/lib/nfs &&
mount -t tmpfs tmpfs /var/lib/nfs && mkdir -p /var/lib/nfs/ganesha && ip link set lo up && rpcbind && echo up && exec sleep infinity"""

UNSHARE = ["unshare", "-n", "-m", "-p", "--fork", "--kill-child"]


def missing():
    return lacks(UNSHARE, "ganesha.nfsd", "rpcbind", "ip")


class Ganesha:
    def __init__(self, place, files, protocols="3, 4"):
        self.place, self.files = place, files
        (place / "conf").write_text(CONFIG.format(files=files, protocols=protocols))
        self.network = subprocess.Popen([*UNSHARE, "sh", "-c", NETWORK], stdout=subprocess.PIPE, text=True)
        assert self.network.stdout.readline() == "up\n"
        self.process = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def inside(self, *command):
        return ["nsenter", f"--net=/proc/{self.network.pid}/ns/net", f"--mount=/proc/{self.network.pid}/ns/mnt", *command]

    def start(self):
        self.process = subprocess.Popen(
            self.inside("ganesha.nfsd", "-F", "-f", self.place / "conf", "-L", self.place / "log", "-p", self.place / "pid"),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.answers, "ganesha", 60)

    def answers(self):
        assert self.process.poll() is None, self.log()
        probe = "import socket; [socket.create_connection(('127.0.0.1', p), 1) for p in (2049,)]"
        return subprocess.run(self.inside("python3", "-c", probe), stderr=subprocess.DEVNULL).returncode == 0

    def log(self):
        return (self.place / "log").read_text(errors="replace") if (self.place / "log").exists() else ""

    def stop(self):
        """As a crash does."""
        self.process.kill()
        self.process.wait()

    def hang(self):
        self.process.send_signal(signal.SIGSTOP)
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        wait_for(lambda: all(") T " in (task / "stat").read_text() for task in tasks.iterdir()), "all its threads to stop")

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        if self.process and self.process.poll() is None:
            self.stop()
        self.network.kill()  # and with it, since it has process numbers of its own, rpcbind
        self.network.wait()
        self.network.stdout.close()

    def url(self, name="image.iso", more=""):
        return f"nfs://127.0.0.1{self.files}/{name}{more}"

    def wrapper(self):
        """A program that is the daemon in this network, in the file system that all see."""
        path = self.place / "nbd-proxy"
        path.write_text(f"#!/bin/sh\nexec nsenter --net=/proc/{self.network.pid}/ns/net {binary()} \"$@\"\n")
        path.chmod(0o755)
        return str(path)
