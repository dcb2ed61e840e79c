"""nbd-proxy passwd: the users file is made, changed and kept sound, with a terminal and without."""
import ctypes
import ctypes.util
import os
import pty
import re
import select
import signal
import stat
import subprocess
import termios
import time

import pytest

from conftest import binary, wait_for

libcrypt = ctypes.CDLL(ctypes.util.find_library("crypt"))
libcrypt.crypt.restype = ctypes.c_char_p


def matches(password, hashed):
    return libcrypt.crypt(password.encode(), hashed.encode()).decode() == hashed


class Users:
    def __init__(self, folder):
        self.path = folder / "users"

    def passwd(self, *arguments, given="", ok=True):
        run = subprocess.run([binary(), "passwd", "--file", str(self.path), *arguments], input=given, capture_output=True,
                             text=True, timeout=60)
        assert "Sanitizer" not in run.stderr and "runtime error" not in run.stderr, run.stderr
        assert (run.returncode == 0) == ok, run
        return run

    def refused(self, *arguments, given="", code=1):
        before = self.path.read_bytes() if self.path.exists() else None
        run = self.passwd(*arguments, given=given, ok=False)
        assert run.returncode == code and run.stderr.startswith("nbd-proxy passwd: ") and not run.stdout, run
        assert (self.path.read_bytes() if self.path.exists() else None) == before
        assert not self.path.with_name("users.new").exists()
        return run.stderr

    def accounts(self):
        fields = [line.split(":") for line in self.path.read_text().splitlines() if not line.startswith("#")]
        return {f[0]: f[1:] for f in fields}


@pytest.fixture
def users(folder):
    return Users(folder)


@pytest.mark.smoke
def test_accounts_are_added_changed_and_removed(users):
    users.passwd("admin", given="correct horse\n")
    assert stat.S_IMODE(users.path.stat().st_mode) == 0o600
    hashed, role, state = users.accounts()["admin"]
    assert hashed.startswith("$y$") and matches("correct horse", hashed)
    assert (role, state) == ("Administrator", "enabled")  # the first one
    users.passwd("bob", given="battery staple")
    assert users.accounts()["bob"][1:] == ["ReadOnly", "enabled"]
    users.passwd("--role", "Operator", "bob", given="paper clips\n")
    hashed, role, state = users.accounts()["bob"]
    assert matches("paper clips", hashed) and role == "Operator"
    users.passwd("--disable", "bob")
    assert users.accounts()["bob"] == [hashed, "Operator", "disabled"]
    users.passwd("--enable", "--role=ReadOnly", "bob")
    assert users.accounts()["bob"] == [hashed, "ReadOnly", "enabled"]
    users.passwd("--delete", "bob")
    assert list(users.accounts()) == ["admin"]


def test_a_random_password_is_shown_once(users):
    first = users.passwd("--random", "admin").stdout
    assert re.fullmatch(r"[0-9A-Za-z]{20}\n", first)
    assert matches(first.strip(), users.accounts()["admin"][0])
    second = users.passwd("--random", "admin").stdout
    assert first != second and matches(second.strip(), users.accounts()["admin"][0])


def test_bad_passwords_are_refused(users):
    assert "too short (8" in users.refused("admin", given="1234567\n")
    assert "no password" in users.refused("admin", given="")
    assert "is empty" in users.refused("admin", given="\n")
    assert "NUL" in users.refused("admin", given="correct\0horse\n")
    assert "control character" in users.refused("admin", given="correct horse\r\n")
    assert "control character" in users.refused("admin", given="correct\thorse\n")
    assert "too long" in users.refused("admin", given=257 * "x" + "\n")
    assert "too short (20" in users.refused("--min-length=20", "admin", given="correct horse\n")
    users.passwd("--min-length=4", "admin", given="1234\n")
    users.passwd("admin", given="only the first line\ncounts\n")
    assert matches("only the first line", users.accounts()["admin"][0])
    users.passwd("admin", given=256 * "x" + "\n")


def test_bad_arguments_are_refused(users):
    for arguments in ([], ["a", "b"], ["a:b"], [""], ["-x", "a"], ["--role=root", "a"], ["--role", "administrator", "a"],
                      ["--delete", "--random", "a"], ["--delete", "--role=Operator", "a"], ["--disable", "--random", "a"],
                      ["--min-length=0", "a"], ["a" * 65]):
        users.refused(*arguments, given="correct horse\n", code=2)
    text = subprocess.run([binary(), "passwd", "--help"], capture_output=True, text=True, check=True).stdout
    assert "--random" in text


def test_the_last_administrator_stays(users):
    users.passwd("admin", given="correct horse\n")
    users.passwd("bob", given="correct horse\n")
    for arguments in (["--delete", "admin"], ["--disable", "admin"], ["--role=Operator", "admin"]):
        assert "last enabled Administrator" in users.refused(*arguments, given="correct horse\n")
    assert "no such account" in users.refused("--delete", "carl")
    assert "no such account" in users.refused("--disable", "carl")


def test_a_bad_file_is_left_alone(users):
    users.path.write_text("# mine\nadmin:x:Administrator:enabled\n")
    users.path.chmod(0o600)
    assert "users:2: the hash" in users.refused("admin", given="correct horse\n")
    users.path.write_text("# mine\n")
    users.path.chmod(0o640)
    assert "open to others" in users.refused("admin", given="correct horse\n")
    users.path.chmod(0o600)
    users.passwd("admin", given="correct horse\n")
    assert users.path.read_text().startswith("# mine\nadmin:")


def test_the_folder_is_made(users, folder):
    users.path = folder / "new" / "users"
    users.passwd("admin", given="correct horse\n")
    assert stat.S_IMODE(users.path.parent.stat().st_mode) == 0o700
    users.path = folder / "not" / "there" / "users"
    users.refused("admin", given="correct horse\n")


def test_nothing_secret_is_in_the_arguments_or_the_output(users):
    run = users.passwd("admin", given="CANARY-PASSWORD\n")
    assert "CANARY" not in run.stdout + run.stderr + users.path.read_text()


class Terminal:
    """The command on a terminal of its own; `screen` is what a person sees."""

    def __init__(self, *arguments):
        self.screen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it
            os.execv(binary(), [binary(), "passwd", *arguments])

    def read(self):
        try:
            while select.select([self.fd], [], [], 0)[0]:
                data = os.read(self.fd, 4096)
                if not data:
                    break
                self.screen += data.decode()
        except OSError:  # it has ended
            pass
        return self.screen

    def wait(self, text):
        wait_for(lambda: text in self.read(), text)

    def echo(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def type(self, text):
        wait_for(lambda: not self.echo(), "the echo to go off")
        os.write(self.fd, text.encode())

    def status(self):
        ended = []
        wait_for(lambda: ended.append(os.waitpid(self.pid, os.WNOHANG)) or ended[-1][0], "its end")
        return ended[-1][1]

    def end(self):
        status = self.status()
        self.read()
        os.close(self.fd)
        return status


def terminal_name(fd):
    """ptsname(3), which Python has only since 3.13."""
    name = ctypes.create_string_buffer(64)
    assert ctypes.CDLL(None).ptsname_r(fd, name, 64) == 0
    return name.value


def test_a_terminal_is_asked_twice_without_echo(users):
    t = Terminal("--file", str(users.path), "admin")
    t.wait("New password for admin: ")
    t.type("correct horse\n")
    t.wait("Again: ")
    t.type("correct horse\n")
    assert os.waitstatus_to_exitcode(t.end()) == 0
    assert "horse" not in t.screen
    assert "admin: added, Administrator" in t.screen
    assert matches("correct horse", users.accounts()["admin"][0])


def test_two_different_passwords_change_nothing(users):
    t = Terminal("--file", str(users.path), "admin")
    t.wait("New password for admin: ")
    t.type("correct horse\n")
    t.wait("Again: ")
    t.type("correct house\n")
    assert os.waitstatus_to_exitcode(t.end()) == 1
    assert "differ" in t.screen and "hor" not in t.screen and "hou" not in t.screen
    assert not users.path.exists()


@pytest.mark.parametrize("key,number", [("\x03", signal.SIGINT), (None, signal.SIGTERM)])
def test_an_interrupt_puts_the_echo_back(users, key, number):
    t = Terminal("--file", str(users.path), "admin")
    t.wait("New password for admin: ")
    assert not t.echo()
    keep = os.open(terminal_name(t.fd), os.O_RDWR | os.O_NOCTTY)
    if key:
        t.type("half" + key)
    else:
        os.kill(t.pid, number)
    status = t.status()
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == number
    assert termios.tcgetattr(keep)[3] & termios.ECHO
    os.close(keep)
    os.close(t.fd)
    assert not users.path.exists()


def test_two_at_a_time_lose_nothing(users):
    users.passwd("admin", given="correct horse\n")
    running = [subprocess.Popen([binary(), "passwd", "--file", str(users.path), f"u{i}"], stdin=subprocess.PIPE,
                                stderr=subprocess.DEVNULL) for i in range(8)]
    for process in running:
        process.stdin.write(b"correct horse\n")
        process.stdin.close()
    deadline = time.monotonic() + 60
    assert [p.wait(max(1, deadline - time.monotonic())) for p in running] == 8 * [0]
    assert len(users.accounts()) == 9
