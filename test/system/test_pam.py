"""Accounts whose password the system's PAM checks, in the helper: pam_exec asks a script, which may hang."""
import concurrent.futures
import os
import shlex
import subprocess

import pytest

from conftest import Daemon, binary
from redfish_client import MEDIA, SESSIONS, Client, arguments, make_users
from test_rights import NOBODY, place  # noqa: F401 (place is a fixture)

has_pam = b"libpam." in subprocess.run(["ldd", binary()], capture_output=True).stdout
pytestmark = [pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a folder in the place of /etc/pam.d"),
              pytest.mark.skipif(not has_pam, reason="built without PAM")]
WAIT = 4  # for PAM, beside the one that is asked
NAMES = [f"pam{i}" for i in range(WAIT + 2)]


class Service:
    """PAM's service nbd-proxy, seen by nobody but the daemon."""

    def __init__(self, folder):
        self.folder = folder / "pam"
        self.folder.mkdir()
        script = self.folder / "script"
        script.write_text(f"#!/bin/sh\ncd {self.folder}\nread -r p || true\necho \"$PAM_USER\" >>asked\n"
                          "while [ -e hangs ]; do sleep 0.05; done\ntest \"$PAM_SERVICE:$p\" = \"nbd-proxy:of $PAM_USER\"\n")
        script.chmod(0o700)
        (self.folder / "nbd-proxy").write_text(
            f"auth required pam_exec.so quiet expose_authtok {script}\naccount required pam_permit.so\n")
        self.wrapper = self.folder / "nbd-proxy-with-pam"
        inside = f'mount --bind {self.folder} /etc/pam.d && exec {shlex.quote(binary())} "$@"'
        self.wrapper.write_text(f"#!/bin/sh\nexec unshare --mount sh -c {shlex.quote(inside)} - \"$@\"\n")
        self.wrapper.chmod(0o700)

    def hang(self, hangs):
        (self.folder / "hangs").touch() if hangs else (self.folder / "hangs").unlink()

    def asked(self):
        path = self.folder / "asked"
        return path.read_text().split() if path.exists() else []


@pytest.fixture(params=["root", "nobody"])
def daemon_with_pam(request, place, monkeypatch):  # noqa: F811
    service = Service(place)
    users = place / "users"
    make_users(users)
    with users.open("a") as file:
        file.writelines(f"{name}:pam:Operator:enabled\n" for name in NAMES)
    more = ()
    if request.param == "nobody":
        for path in (users, place):
            os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
        more = ("daemon.user=nobody",)
    monkeypatch.setenv("NBD_PROXY", str(service.wrapper))
    d = Daemon(place, *arguments(users, *more))
    yield d, service
    if (service.folder / "hangs").exists():
        service.hang(False)
    d.stop()


def log_in(d, name, password):
    return Client(d).post(SESSIONS, {"UserName": name, "Password": password})


def test_pam_says_who_comes_in(daemon_with_pam):
    d, service = daemon_with_pam
    assert log_in(d, "pam0", "of pam0").status == 201
    assert Client(d, "pam1", "of pam1").get(MEDIA).status == 200
    assert log_in(d, "pam0", "of pam1").status == 401
    assert service.asked() == ["pam0", "pam1", "pam0"]


def test_a_pam_that_hangs_is_in_nobodys_way(daemon_with_pam):
    """So many wait for it; the next is told when to come back. Other accounts, and requests of who is in, don't notice."""
    d, service = daemon_with_pam
    service.hang(True)
    with concurrent.futures.ThreadPoolExecutor(len(NAMES)) as pool:
        asking = {pool.submit(log_in, d, name, f"of {name}") for name in NAMES}
        done, waiting = concurrent.futures.wait(asking, timeout=30, return_when=concurrent.futures.FIRST_COMPLETED)
        refused = done.pop().result()
        assert refused.status == 503 and int(refused.headers["Retry-After"]) >= 1
        assert refused.ids == ["ServiceTemporarilyUnavailable"]
        admin = log_in(d, "admin", "admin-password")
        assert admin.status == 201
        assert Client(d, token=admin.headers["X-Auth-Token"]).get(MEDIA).status == 200
        d.ok("status")
        assert not done and not any(one.done() for one in waiting)
        service.hang(False)
        assert [one.result().status for one in waiting] == [201] * (WAIT + 1)
    assert sorted(service.asked()) == sorted(set(service.asked())) and len(service.asked()) == WAIT + 1
