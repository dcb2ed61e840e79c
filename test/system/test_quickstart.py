"""./quickstart, with the program that is tested already built: what a newcomer sees."""
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess

import pytest

from bootable import Disc
from conftest import TOP, binary, make_image, wait_for

BUILD = pathlib.Path(binary()).parent


def missing():
    """What quickstart would install or build: a test must not."""
    if not (BUILD / "Makefile").exists():
        return f"{BUILD} is no build folder"
    script = """libsmb2=$PWD/build/libsmb2; eval "$(sed -n '/^have_package/,/^# With a lock/p' quickstart)"; missing_packages ''
        [ -z "$(smb_packages)" ] || echo libsmb2"""
    lacking = subprocess.run(["bash", "-c", script], cwd=TOP, capture_output=True, text=True, check=True).stdout.split()
    return f"not installed: {' '.join(lacking)}" if lacking else None


REASON = missing() if shutil.which("dpkg-query") else "this is not Debian"
pytestmark = pytest.mark.skipif(bool(REASON), reason=str(REASON))


def start(folder, *arguments, **options):
    environment = {**os.environ, "NBD_PROXY_STATE": str(folder / "state"), "NBD_PROXY_BUILD": str(BUILD),
                   "NBD_PROXY_LISTEN": "127.0.0.1:0"}
    return subprocess.Popen([TOP / "quickstart", *map(str, arguments)], cwd="/", env=environment, stdin=subprocess.DEVNULL,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options})


def stop(process, folder):
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert not list((folder / "state").glob("*.sock"))
    assert "stopped" in (folder / "state" / "nbd-proxy.log").read_text().splitlines()[-1]


def told(process):
    """Its words up to the last line that it prints before it waits."""
    lines = []
    for line in process.stdout:
        lines.append(line.decode())
        if "Ctrl-C" in lines[-1]:
            return "".join(lines)
    raise AssertionError("".join(lines) + process.stderr.read().decode())


def test_a_file_is_served_and_what_it_prints_works(folder):
    image = make_image(folder / "image.iso", 2_000_000)
    process = start(folder, image)
    text = told(process)
    uri = re.search(r"nbdinfo '(.*)'", text)[1]
    subprocess.run(["nbdcopy", uri, folder / "copy"], check=True)
    assert (folder / "copy").read_bytes() == image.read_bytes()
    watch, prompt = re.findall(r"^    (\S+ ctl --socket=.*)$", text, re.M)
    with subprocess.Popen(watch, shell=True, stdout=subprocess.PIPE, text=True, start_new_session=True) as live:
        assert live.stdout.readline().startswith("slot0: ready, read ")
        os.killpg(live.pid, signal.SIGTERM)
    shown = subprocess.run(prompt, shell=True, input="status\n", capture_output=True, text=True, check=True, timeout=60)
    assert "ready" in shown.stdout
    qemu = "    qemu-system-x86_64 -m 512" if shutil.which("qemu-system-x86_64") else "    apt-get install qemu-system-x86 "
    assert qemu in text
    assert re.search("its SHA-256 is ([0-9A-F]{2}:){31}[0-9A-F]{2}\n", text)
    page, password = re.search(r"(https://\S+)/ +user: admin +password: (\S+)", text).groups()
    slots = subprocess.run(["curl", "-sk", "-u", f"admin:{password}", page + "/api/slots"], capture_output=True, text=True).stdout
    assert '"image.iso"' in slots
    stop(process, folder)
    process.stdout.close()
    process.stderr.close()


def test_without_an_image_a_bootable_one_is_made_and_progress_is_shown(folder):
    terminal, other = pty.openpty()
    process = start(folder, stdout=other, stderr=other)
    os.close(other)
    text = b""
    while b"Ctrl-C" not in text:
        text += os.read(terminal, 4096)
    assert re.search(rb"\rquickstart: making a small bootable ISO \.\.\. \d+ s", text)
    uri = re.search(rb"nbdinfo '(.*)'", text)[1].decode()
    subprocess.run(["nbdcopy", uri, folder / "copy"], check=True)
    content = (folder / "copy").read_bytes()
    assert content[17 * 2048:][:30] == b"\0CD001\1EL TORITO SPECIFICATION"
    stop(process, folder)
    os.close(terminal)


@pytest.mark.parametrize("image,words", [
    ("/no/such/file.iso", "there is no file /no/such/file.iso"),
    ("http://127.0.0.1:1/x.iso", "check host and port"),
    ("tftp://127.0.0.1/x.iso", "this kind of URL is not supported"),
    ("nothing.iso", "there is no file"),
    (None, "404 Not Found (check the path"),
])
def test_a_wrong_image_ends_with_one_clear_line(folder, nginx, image, words):
    process = start(folder, image or nginx.url("nothing.iso", "http"))
    out, error = process.communicate(timeout=120)
    assert process.returncode == 1
    lines = error.decode().splitlines()
    assert len(lines) == 1 and lines[0].startswith("quickstart: cannot insert: ") and words in lines[0], lines
    assert b"Ctrl-C" not in out
    wait_for(lambda: not list((folder / "state").glob("*.sock")), "the daemon's end")


@pytest.mark.parametrize("arguments,code", [(["--help"], 0), (["--bogus"], 2), (["a", "b"], 2), (["a", "user=u", "b"], 2)])
def test_its_options(folder, arguments, code):
    process = start(folder, *arguments)
    out, error = process.communicate(timeout=20)
    assert process.returncode == code and b"usage: ./quickstart [IMAGE [OPTION]...]" in out + error


# --- a tree and a machine of stand-ins: what is there, what is asked of apt, what is configured ---

STAND_INS = {
    # A package is there if it is a file of that folder.
    "dpkg-query": '[ -e "$MACHINE/installed/${@: -1}" ] && echo "install ok installed"',
    "dpkg": 'cat "$MACHINE/architecture"',
    "apt-cache": '[ -e "$MACHINE/available/$2" ] && cat "$MACHINE/available/$2"',
    "apt-get": """echo "$@" >>"$MACHINE/apt"
[ ! -p "$MACHINE/gate" ] || { echo begun >"$MACHINE/begun"; read -r _ <"$MACHINE/gate"; echo ended >>"$MACHINE/apt"; }
case " $* " in *" install "*) for p; do case $p in -* | install | *=*) ;; *) touch "$MACHINE/installed/$p" ;; esac; done ;; esac""",
    "pkg-config": 'name=${@: -1}; [ -e "$MACHINE/libraries/${name%% *}" ] && cat "$MACHINE/libraries/${name%% *}"',
    "id": 'cat "$MACHINE/id"',
    "nbdinfo": 'echo "$@" >>"$MACHINE/nbdinfo"',
    "grub-mkrescue": 'head -c 65536 /dev/zero >"$2"',
    "autoreconf": 'echo "autoreconf is not needed" >&2; exit 1',
}
CONFIGURE = """#!/bin/sh
echo "$0" >>"$MACHINE/configured"
printf 'nbd-proxy:\\n\\tln -sf "$(REAL)" nbd-proxy\\n' >Makefile
"""


class Machine:
    def __init__(self, folder):
        self.folder, self.tree = folder, folder / "a tree"
        self.bin = folder / "bin"
        for name in ("bin", "installed", "available", "libraries", "home"):
            (folder / name).mkdir()
        for name, script in STAND_INS.items():
            self.program(self.bin / name, "#!/bin/bash\n" + script + "\n")
        (folder / "architecture").write_text("amd64\n")
        (folder / "id").write_text("0\n")
        (self.tree / "packaging").mkdir(parents=True)
        (self.tree / "web").symlink_to(TOP / "web")
        shutil.copy(TOP / "quickstart", self.tree)
        for name, when in (("configure.ac", 1), ("Makefile.am", 1), ("Makefile.in", 2)):
            (self.tree / name).touch()
            os.utime(self.tree / name, (when, when))
        self.program(self.tree / "packaging" / "get-libsmb2", "#!/bin/sh\ntest -e \"$MACHINE/libraries/libsmb2\"\n")
        self.program(self.tree / "configure", CONFIGURE)
        (folder / "available" / "libllhttp-dev").touch()
        self.image = make_image(folder / "an image.iso", 2048 * 100)

    def program(self, path, text):
        path.write_text(text)
        path.chmod(0o755)

    def start(self, *arguments, shell=(), state=None, **options):
        environment = {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}", "MACHINE": str(self.folder), "REAL": binary(),
                       "HOME": str(self.folder / "home"), "NBD_PROXY_LISTEN": "127.0.0.1:0"}
        for name in ("NBD_PROXY_BUILD", "NBD_PROXY_STATE", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"):
            environment.pop(name, None)
        if state:
            environment["NBD_PROXY_STATE"] = state
        return subprocess.Popen([*shell, str(self.tree / "quickstart"), *map(str, arguments)], env=environment, text=True, cwd=self.folder,
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                                **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options})

    def until_served(self, process):
        lines = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], "".join(lines) + process.stderr.read()
        return "".join(lines)

    def stop(self, process):
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130

    def serve(self, *arguments, **how):
        process = self.start(*arguments, **how)
        text = self.until_served(process)
        self.stop(process)
        return text

    def log(self, name):
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def machine(folder):
    return Machine(folder)


def test_packages_have_their_names_and_are_installed_once(machine):
    text = machine.serve(machine.image)
    shown = re.search(r"installing: (.*)", text)[1].split()
    assert {"gcc", "cmake", "patch", "xz-utils", "libllhttp-dev"} <= set(shown)
    assert not [name for name in shown if name != name.lower() or name.startswith(("qemu", "grub", "socat"))]
    update, install = machine.log("apt")
    assert update.endswith("update") and install.split()[install.split().index("--no-install-recommends") + 1:] == shown
    assert "DPkg::Lock::Timeout=" in install
    assert "installing" not in machine.serve(machine.image)  # libsmb2 could not be made: that is no package
    assert len(machine.log("apt")) == 2
    (machine.folder / "id").write_text("1000\n")
    (machine.folder / "installed" / "xz-utils").unlink()
    for name in ("sudo", "env"):
        machine.program(machine.bin / name, '#!/bin/sh\n[ "$1" != -v ] || exit 1\nexec /usr/bin/env "$@"\n')
    refused = machine.start(machine.image)
    assert "sudo is needed to install: xz-utils" in refused.communicate(timeout=60)[1] and refused.returncode == 1


@pytest.mark.parametrize("architecture,grub", [("amd64", "grub-pc-bin"), ("arm64", "grub-efi-arm64-bin"), ("riscv64", "grub-common")])
def test_grub_is_the_machines_own(machine, architecture, grub):
    (machine.folder / "architecture").write_text(architecture + "\n")
    machine.serve()
    install = machine.log("apt")[1].split()
    assert grub in install and ("grub-pc-bin" in install) == (architecture == "amd64")


def test_a_library_that_comes_later_is_seen(machine):
    machine.serve(machine.image)
    machine.serve(machine.image)
    assert len(machine.log("configured")) == 1
    assert not re.search(r"\s", machine.log("configured")[0])  # the tree's name has a blank: autoconf takes none
    assert machine.log("nbdinfo")[0].endswith("/a%20tree/build/state/slot0.sock")
    (machine.folder / "libraries" / "libsmb2").write_text("6.1.0\n")
    machine.serve(machine.image)
    assert len(machine.log("configured")) == 2


def test_a_tree_that_is_configured_in_place_is_built_there(machine):
    (machine.tree / "config.status").touch()
    (machine.tree / "Makefile").write_text("nbd-proxy:\n\tln -sf '$(REAL)' nbd-proxy\n")
    machine.serve(machine.image)
    assert not machine.log("configured") and (machine.tree / "nbd-proxy").exists() and not (machine.tree / "build" / "quickstart").exists()


def test_ctrl_c_waits_for_apt_and_ends_the_build(machine):
    os.mkfifo(machine.folder / "gate")
    process = machine.start(machine.image, start_new_session=True)
    wait_for(lambda: (machine.folder / "begun").exists(), "apt")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    for line in process.stdout:
        if "waiting for apt" in line:
            break
    assert process.poll() is None
    (machine.folder / "gate").write_text("go on\n")
    process.communicate(timeout=60)
    assert process.returncode == 130 and machine.log("apt")[-1] == "ended"
    (machine.folder / "gate").unlink()
    os.mkfifo(machine.folder / "compiling")
    machine.program(machine.tree / "configure", '#!/bin/sh\necho $$ >"$MACHINE/compiler"\nread -r _ <"$MACHINE/compiling"\n')
    process = machine.start(machine.image, start_new_session=True)
    wait_for(lambda: machine.log("compiler"), "configure")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    stat = pathlib.Path(f"/proc/{machine.log('compiler')[0]}/stat")  # who inherits it may take a while to hear of its end
    wait_for(lambda: not stat.exists() or ") Z " in stat.read_text(), "the end of configure")


def test_a_second_one_leaves_the_first_as_it_is_and_offers_to_insert_there(machine):
    first = machine.start(machine.image)
    machine.until_served(first)
    state = machine.tree / "build" / "state"
    before = (state / "users").read_bytes(), (state / "nbd-proxy.log").read_bytes()
    other = make_image(machine.folder / "other.iso", 2048 * 50)
    second = machine.start("other.iso")  # of the caller's folder
    out, error = second.communicate(timeout=60)
    assert second.returncode == 1 and "runs already" in out + error
    command = re.search(r"to insert the image there: (.*)", error)[1]
    assert "other.iso, 102400 bytes" in subprocess.run(command, shell=True, check=True, capture_output=True, text=True, timeout=60).stdout
    terminal, slave = pty.openpty()
    third = machine.start(machine.image, "writable=no", stdin=slave)
    os.close(slave)
    os.write(terminal, b"y\n")
    out, error = third.communicate(timeout=60)
    assert third.returncode == 0 and "an image.iso, 204800 bytes, read-only" in out, (out, error)
    os.close(terminal)
    nothing = machine.start()
    assert "give an IMAGE" in nothing.communicate(timeout=60)[1] and nothing.returncode == 1
    assert (state / "users").read_bytes() == before[0] and (state / "nbd-proxy.log").read_bytes().startswith(before[1])
    machine.stop(first)
    assert other.exists()


def test_options_of_an_insert_are_passed_on(machine):
    process = machine.start("http://127.0.0.1:1/x.iso", "user=u", "--password-file", "no-such-file")
    assert "cannot insert: no-such-file: No such file" in process.communicate(timeout=60)[1]
    (machine.folder / "secret").write_text("p\n")  # of the caller's folder
    process = machine.start("http://127.0.0.1:1/x.iso", "user=u", "--password-file", "secret", "--verify", "no", "writable=maybe")
    assert "cannot insert: unknown option or value in \"writable=...\"" in process.communicate(timeout=60)[1]


def test_sh_will_do(machine):
    assert "It is being served" in machine.serve(machine.image, shell=["sh"])


def test_a_login_asks_for_its_password_on_a_terminal(machine):
    terminal, slave = pty.openpty()
    process = machine.start("http://127.0.0.1:1/x.iso", "user=u", "writable=maybe", stdin=slave, stderr=slave)
    os.close(slave)
    seen = b""
    while b"Password" not in seen:
        seen += os.read(terminal, 4096)
    os.write(terminal, b"secret\n")
    process.communicate(timeout=60)
    while b"cannot insert" not in seen:
        seen += os.read(terminal, 4096)
    os.close(terminal)
    assert b'unknown option or value in "writable=..."' in seen and b"secret" not in seen and process.returncode == 1


def test_a_dry_run_shows_what_it_would_change_and_a_state_is_where_the_caller_says(machine):
    disc = Disc(machine.folder)
    process = machine.start(disc.image, "dry-run", "kernel-args=mark=1", state="my state")
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0 and "mark=1" in out and "a dry run" in out, (out, error)
    assert (machine.folder / "my state" / "nbd-proxy.log").exists()
