"""Who may do what: the process with the sockets has no rights, its helper has no sockets."""
import grp
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile

import pytest

from conftest import TOP, Daemon, binary, wait_for

pytestmark = pytest.mark.plain
root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
NOBODY = pwd.getpwnam("nobody")
CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapAmb")


def status_of(path):
    lines = (line.partition(":") for line in pathlib.Path(path, "status").read_text().splitlines())
    return {name: rest.split() for name, _, rest in lines}


def threads(d):
    return [status_of(path) for path in pathlib.Path(f"/proc/{d.process.pid}/task").iterdir()]


def helper_of(d):
    tasks = pathlib.Path(f"/proc/{d.process.pid}/task").iterdir()
    return int(" ".join((task / "children").read_text() for task in tasks).split()[0])


def has_filter():
    """A build without libseccomp has none."""
    return b"seccomp" in subprocess.run(["ldd", binary()], capture_output=True).stdout


def has_no_rights(thread):
    assert {thread[name][0] for name in CAPABILITIES} == {"0" * 16}
    assert thread["NoNewPrivs"] == ["1"] and (thread["Seccomp"] == ["2"] or not has_filter())


@pytest.fixture
def place():
    """A folder that another user can get to."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="np-rights-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def other(place):
    """A daemon as root starts it, which becomes another user."""
    started = []

    def start(*arguments, **options):
        folder = place / f"run{len(started)}"
        folder.mkdir(mode=0o755)
        started.append(Daemon(folder, "daemon.user=nobody", *arguments, **options))
        return started[-1]

    yield start
    for d in started:
        d.stop()


def test_no_thread_has_a_capability(daemon):
    d = daemon()
    d.ok("slots")
    assert len(threads(d)) > 10  # the pool's are there
    for thread in threads(d):
        has_no_rights(thread)


def test_the_helper_has_nothing_open_but_its_end(daemon):
    d = daemon("web.listen-plain=127.0.0.1:0")
    files = {path.name: os.readlink(path) for path in pathlib.Path(f"/proc/{helper_of(d)}/fd").iterdir()}
    assert files["0"] == files["1"] == "/dev/null" and files["2"].endswith("/log")
    assert set(files) == {"0", "1", "2", "3"} and files["3"].startswith("socket:")


def test_the_helper_ends_with_the_daemon(daemon):
    d = daemon()
    pid = helper_of(d)
    d.kill()
    wait_for(lambda: not os.path.exists(f"/proc/{pid}/fd/3") or not os.listdir(f"/proc/{pid}/fd"), "the helper's end")


def test_the_daemon_ends_with_the_helper(daemon):
    d = daemon()
    os.kill(helper_of(d), signal.SIGTERM)  # as a supervisor might send to all: that is the daemon's to obey
    d.ok("slots")
    os.kill(helper_of(d), signal.SIGKILL)
    assert d.process.wait(30) == 1
    assert "the helper has ended" in d.log()
    d.killed = True


def test_a_helper_that_is_not_there(folder):
    result = subprocess.run([binary(), "--no-config", "--set", f"daemon.runtime-dir={folder}", f"--helper={folder}/none"],
                            capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and "can't be reached (see --helper): No such file" in result.stderr


def test_a_user_that_is_not_there(folder):
    result = subprocess.run([binary(), "--no-config", "--set", f"daemon.runtime-dir={folder}", "--set", "daemon.user=no-such-user"],
                            capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and "user = no-such-user" in result.stderr and len(result.stderr.splitlines()) == 1


@root
def test_another_user_serves(other, place):
    (place / "image.iso").write_bytes(bytes(1 << 20))
    (place / "secret.iso").write_bytes(bytes(1 << 20))
    (place / "image.iso").chmod(0o644)
    (place / "secret.iso").chmod(0o600)
    d = other()
    for thread in threads(d):
        assert thread["Uid"] == [str(NOBODY.pw_uid)] * 4 and thread["Gid"] == [str(NOBODY.pw_gid)] * 4
        assert "0" not in thread.get("Groups", [])
        has_no_rights(thread)
        assert thread["CapBnd"] == ["0" * 16]
    assert status_of(f"/proc/{helper_of(d)}")["Uid"] == ["0"] * 4
    d.ok(f"insert 0 {place}/image.iso")
    assert "Permission denied" in d.error(f"insert 1 {place}/secret.iso")
    assert d.folder.stat().st_uid == (d.folder / "control.sock").stat().st_uid == NOBODY.pw_uid
    d.ok("eject 0")


@root
def test_what_only_root_can_is_done_at_the_start(other, place, certificates):
    for name in ("good.pem", "good.key"):
        shutil.copy(certificates / name, place / name)
        (place / name).chmod(0o600)
    d = other("web.listen=127.0.0.1:0", f"web.certificate={place}/good.pem", f"web.certificate-key={place}/good.key",
              f"web.users-file={place}/users", "daemon.control-group=daemon")
    assert "listening on 127.0.0.1:" in d.log()
    assert (d.folder / "control.sock").stat().st_gid == grp.getgrnam("daemon").gr_gid
    assert "Permission denied" in d.error("reload")


@root
def test_roots_files_of_before_are_its_users(other, place):
    folder = place / "run0"
    folder.mkdir()
    (folder / "state.json").write_text("{}")
    (folder / "link").symlink_to("/etc/hostname")
    folder.rename(place / "kept")
    d = Daemon(place / "kept", "daemon.user=nobody")
    owners = {path.name: path.lstat().st_uid for path in (place / "kept").iterdir()}
    d.stop()
    assert owners["state.json"] == NOBODY.pw_uid and owners["link"] == 0
    assert os.stat("/etc/hostname").st_uid == 0


@root
def test_the_hook_has_roots_rights_and_the_configuration_says_which(other, place):
    hook = place / "hook"
    hook.write_text("#!/bin/sh\n[ $1 = get ] || exit 0\nid -u >&2\ngrep -E 'Seccomp:|NoNewPrivs' /proc/$$/status >&2\necho PowerState On\n")
    hook.chmod(0o755)
    config = f"[slot cd]\n[host]\nhook = {hook}\n"
    d = other(config=config)
    assert d.ok("host status")[0] == "PowerState On"
    said = [line.rpartition("hook: get: ")[2] for line in d.log().splitlines() if "hook: get: " in line]
    assert said[:3] == ["0", "NoNewPrivs:\\x090", "Seccomp:\\x090"]
    assert "can't be read any more, so a reload will fail" in d.log()
    assert "nothing was changed" in d.error("reload")
    d.config.chmod(0o640)
    os.chown(d.config, 0, NOBODY.pw_gid)
    other_hook = place / "hook2"
    other_hook.write_text("#!/bin/sh\necho PowerState Off\n")
    other_hook.chmod(0o755)
    d.config.write_text(config.replace(str(hook), str(other_hook)))
    d.ok("reload")
    wait_for(lambda: d.ok("host status")[0] == "PowerState Off", "the other hook")


@root
def test_root_keeps_the_accounts_of_another_user(other, place):
    folder = place / "state"
    folder.mkdir()
    os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)
    for number in range(2):
        subprocess.run([binary(), "passwd", f"--file={folder}/users", "--random", f"user{number}"], check=True, capture_output=True)
        assert (folder / "users").stat().st_uid == NOBODY.pw_uid
    d = other("web.listen=127.0.0.1:0", f"web.users-file={folder}/users")
    assert "no account" not in d.log()
    os.chown(folder / "users", 12345, 0)  # somebody else's
    result = subprocess.run([binary(), "passwd", f"--file={folder}/users", "--random", "admin"], capture_output=True, text=True)
    assert result.returncode == 1 and "belongs to another user" in result.stderr


def test_the_unit_is_rated_safe():
    analyze = shutil.which("systemd-analyze")
    if not analyze or "--offline" not in subprocess.run([analyze, "--help"], capture_output=True, text=True).stdout:
        pytest.skip("needs systemd-analyze")
    for unit, most in (("nbd-proxy.service", 15), ("nbd-proxy-helper@.service", 30)):
        result = subprocess.run([analyze, "security", "--offline=true", "--no-pager", f"--threshold={most}",
                                 str(TOP / "packaging" / unit)], capture_output=True, text=True, timeout=60)
        assert result.returncode == 0 and "Overall exposure level" in result.stdout, result.stdout + result.stderr
