"""What the lines of docs/openbmc.md install agrees with the unit: where the program is, its settings, and all that it writes."""
import os
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest

from conftest import TOP, binary, wait_for

UNITS = "/usr/lib/systemd/system"


def run(*command, **how):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False, **how)
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def readme_options():
    line = re.search(r"^    \.\./\.\./configure (.*?) && make && make install$", (TOP / "docs" / "openbmc.md").read_text(), re.M)[1]
    options = shlex.split(line)
    assert "--with-systemdsystemunitdir" in options  # where it is, is asked of systemd.pc, which not every machine has
    return [f"--with-systemdsystemunitdir={UNITS}" if o == "--with-systemdsystemunitdir" else o for o in options]


def values(text, key):
    """Of a unit: all words that stand at that key."""
    return [word for line in re.findall(rf"^{key}=(.*)$", text, re.M) for word in line.split()]


def make(build, variable):
    return run("make", "-s", f"--eval=show: ; @echo $({variable})", "show", cwd=build).strip()


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    if not (TOP / "configure").exists():
        pytest.skip("needs configure (autoreconf -fi)")
    place = tmp_path_factory.mktemp("build")
    run(TOP / "configure", *readme_options(), cwd=place)
    return place


@pytest.fixture(scope="module")
def tree(build, tmp_path_factory):
    """All that is installed but the program."""
    place = tmp_path_factory.mktemp("tree")
    run("make", "install-data", f"DESTDIR={place}", cwd=build)
    return place


@pytest.fixture(scope="module")
def unit(tree):
    return (tree / UNITS[1:] / "nbd-proxy.service").read_text()


def test_the_unit_starts_what_is_installed(build, tree, unit):
    program = make(build, "sbindir") + "/nbd-proxy"
    helper = (tree / UNITS[1:] / "nbd-proxy-helper@.service").read_text()
    assert values(unit, "ExecStart")[0] == values(helper, "ExecStart")[0] == program == "/usr/sbin/nbd-proxy"


def test_the_command_and_its_completions_are_installed(build, tree):
    run("make", "install-exec-hook", f"DESTDIR={tree}", cwd=build)
    assert (tree / "usr/bin/nbd-proxyctl").readlink() == (tree / "usr/bin/nbd-proxy").readlink() == pathlib.Path("/usr/sbin/nbd-proxy")
    assert (tree / "usr/share/man/man1/nbd-proxyctl.1").is_file()
    for shell, names in {"bash-completion/completions": ("nbd-proxyctl.bash", "nbd-proxy.bash"), "zsh/site-functions": ("_nbd-proxyctl",),
                         "fish/vendor_completions.d": ("nbd-proxyctl.fish", "nbd-proxy.fish")}.items():
        assert all((tree / "usr/share" / shell / name).is_file() for name in names), shell


def test_the_program_is_named_where_another_prefix_puts_it(build, tmp_path):
    run("make", "install-data", f"DESTDIR={tmp_path}", "sbindir=/opt/sbin", cwd=build)
    for name in ("nbd-proxy.service", "nbd-proxy-helper@.service"):
        assert values((tmp_path / UNITS[1:] / name).read_text(), "ExecStart")[0] == "/opt/sbin/nbd-proxy"


def test_what_is_written_may_be_written_under_the_unit(build, tree, unit):
    assert values(unit, "ProtectSystem") == ["strict"]
    may = {f"/run/{name}" for name in values(unit, "RuntimeDirectory")} | {f"/var/lib/{name}" for name in values(unit, "StateDirectory")}
    flags = make(build, "AM_CPPFLAGS")
    state = re.search(r'-DLOCALSTATEDIR="(.*?)"', flags)[1] + "/lib/nbd-proxy"
    settings = re.search(r'-DSYSCONFDIR="(.*?)"', flags)[1] + "/nbd-proxy.conf"
    keys = dict(re.findall(r"^([a-z-]+) = (/.*)$", run(binary(), "--no-config", "--dump-config"), re.M))
    for path in (state, keys["runtime-dir"], keys["profile-directory"], keys["overlay-directory"]):
        assert any(f"{path}/".startswith(f"{place}/") for place in may), (path, may)
    made = re.findall(r"^(\S) (\S+)", (tree / "usr/lib/tmpfiles.d/nbd-proxy.conf").read_text(), re.M)
    assert {path for letter, path in made if letter == "d"} == may
    assert [path for letter, path in made if letter == "z"] == [settings] == ["/etc/nbd-proxy.conf"]
    assert (tree / settings[1:]).is_file() and (tree / state[1:]).is_dir()
    assert (tree / re.search(r'-DPAGEDIR="(.*?)"', flags)[1][1:] / "index.html").is_file()


# As ProtectSystem=strict has it: all is read-only but the unit's own folders.
STRICT = """set -e
mount --make-rprivate /
mount --bind {etc} /etc
for d in /var/lib /run; do mount -t tmpfs none $d; mkdir -m 700 $d/nbd-proxy; mount --bind $d/nbd-proxy $d/nbd-proxy; done
for d in / /etc /var/lib /run; do mount -o remount,bind,ro $d; done
for d in / /usr /etc /var/lib /run; do if touch $d/probe 2>/dev/null; then echo "$d can be written to"; exit 9; fi; done
exec {binary}"""


@pytest.mark.plain
@pytest.mark.skipif(os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0,
                    reason="needs a mount namespace")
def test_it_starts_without_options_where_all_else_is_read_only(folder):
    """A build with the default prefix: it has the paths of the unit too."""
    etc = folder / "etc"
    etc.mkdir()
    for name in ("passwd", "group", "nsswitch.conf", "hosts"):
        if os.path.exists(f"/etc/{name}"):
            shutil.copy(f"/etc/{name}", etc)
    (etc / "nbd-proxy.conf").write_text("[daemon]\nuser = root\n[web]\nlisten = 127.0.0.1:0\n[slot cd]\nattach = socket\n")
    with open(folder / "log", "w") as log:
        daemon = subprocess.Popen(["unshare", "--mount", "sh", "-c", STRICT.format(etc=etc, binary=shlex.quote(binary()))],
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_for(lambda: "ready:" in (folder / "log").read_text() or daemon.poll() is not None, "the daemon")
        assert daemon.poll() is None, (folder / "log").read_text()
        text = (folder / "log").read_text()
        assert "made /var/lib/nbd-proxy/certificate.pem" in text and "sockets in /run/nbd-proxy" in text
        daemon.terminate()
        assert daemon.wait(60) == 0, (folder / "log").read_text()
    finally:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()
