"""A machine as the daemon sees it: an /etc of its own, a copy of this one with accounts and names of its own, and if wanted a
network of its own. Nothing of this machine's is left to write to but the test's folder."""
import os
import shlex
import shutil
import subprocess

from conftest import TOP, binary

MOUNTS = """mount --make-rprivate / && mount --bind {etc} /etc && for d in /var/mail /var/log /var/lib /run; do
! test -d $d || mount -t tmpfs none $d; done && mkdir -p /run/lock"""


UNSHARE = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]


def lacks(unshare, *tools):
    """Why namespaces of its own can't be had for them; None: they can."""
    if os.getuid() != 0:
        return "needs root"
    for tool in ("unshare", "nsenter", *tools):
        if not shutil.which(tool):
            return f"needs {tool}"
    if subprocess.run([*unshare, "true"], capture_output=True).returncode:
        return "needs namespaces of its own"  # which not every container gives
    return None


def missing():
    return lacks(UNSHARE, "useradd", "chpasswd")


class System:
    """Its accounts are changed by the system's own tools, and PAM's service nbd-proxy is the one that is shipped."""

    def __init__(self, folder):
        self.folder, self.etc = folder, folder / "etc"
        subprocess.run(["cp", "-a", "/etc", self.etc], check=True)
        shutil.copy(TOP / "packaging/pam.d/nbd-proxy", self.etc / "pam.d/nbd-proxy")
        self.mounts = MOUNTS.format(etc=self.etc)
        for group in ("priv-admin", "priv-operator", "priv-user"):
            self.run("groupadd", group)

    def run(self, *command, given=None):
        subprocess.run(["unshare", "--mount", "sh", "-c", self.mounts + ' && exec "$0" "$@"', *command], check=True, input=given,
                       text=True, capture_output=True)

    def password(self, name, password):
        self.run("chpasswd", given=f"{name}:{password}\n")

    def script(self, name, line):
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
        return path

    def wrapper(self):
        """A program that is the daemon on this machine, in the network that all are in."""
        inside = f'{self.mounts} && exec {shlex.quote(binary())} "$@"'
        return self.script("nbd-proxy-in-system", f"exec unshare --mount sh -c {shlex.quote(inside)} - \"$@\"")


class Host:
    """A place in a network of its own that such a machine, or a part of it, runs in. What `more` starts ends with it."""

    def __init__(self, system, more="true"):
        self.process = subprocess.Popen(
            [*UNSHARE, "sh", "-c", f"{system.mounts} && ip link set lo up && {more} && echo up && exec sleep infinity"],
            stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "up\n"

    def inside(self, *command):
        pid = self.process.pid
        return ["nsenter", f"--net=/proc/{pid}/ns/net", f"--mount=/proc/{pid}/ns/mnt", *map(str, command)]

    def run(self, *command, **how):
        return subprocess.run(self.inside(*command), check=True, capture_output=True, text=True, **how).stdout

    def reaches(self, other, mine, its):
        """A cable between both, with an address at each end."""
        subprocess.run(["nsenter", f"--net=/proc/{self.process.pid}/ns/net", "ip", "link", "add", "eth0", "type", "veth", "peer", "name",
                        "eth0", "netns", str(other.process.pid)], check=True)
        for host, address in ((self, mine), (other, its)):
            host.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
            host.run("ip", "link", "set", "eth0", "up")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
