"""nbd-proxyctl: the daemon driven by a person at a terminal, by scripts, and by shells that complete."""
import base64
import http.server
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import termios
import threading
import time

import pytest

from conftest import TOP, binary, make_image
from liar import Liar
from manual import section
from manual import text as page
from test_nbd import handle

COMPLETION = TOP / "packaging" / "completion"


@pytest.fixture
def program(folder):
    """As it is installed: a link to the daemon's program. One that valgrind starts has another name."""
    (folder / "bin").mkdir()
    real = pathlib.Path(binary()).resolve()
    (folder / "bin" / "nbd-proxy").symlink_to(real)
    ctl = folder / "bin" / "nbd-proxyctl"
    if real.read_bytes()[:4] == b"\x7fELF":
        ctl.symlink_to(real)
    else:
        ctl.write_text(f'#!/bin/sh\nexec {real} ctl "$@"\n')
        ctl.chmod(0o755)
    return str(ctl)


class Ctl:
    def __init__(self, program, d):
        self.start = [program, f"--socket={d.folder}/control.sock"]

    def run(self, *words, code=0, given=None, **more):
        done = subprocess.run([*self.start, *map(str, words)], input=given, capture_output=True, text=True, timeout=60, **more)
        assert done.returncode == code, done
        assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
        assert "\033" not in done.stdout + done.stderr  # no terminal
        return done

    def out(self, *words, **more):
        return self.run(*words, **more).stdout

    def refused(self, *words, code=1, **more):
        done = self.run(*words, code=code, **more)
        assert done.stderr.startswith("nbd-proxyctl: ") and done.stderr.count("\n") == 1, done
        return done.stderr[len("nbd-proxyctl: "):-1]


class Terminal:
    """A program on a terminal: what it wrote, and what is typed."""

    def __init__(self, command, **environment):
        pid, self.fd = pty.fork()
        if pid == 0:
            os.environ.update(environment)
            os.execv(command[0], command)
        self.pid, self.seen = pid, ""

    def type(self, text):
        os.write(self.fd, text.encode())

    def until(self, pattern, seconds=30):
        deadline = time.monotonic() + seconds
        while not (match := re.search(pattern, self.seen)):
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], (pattern, self.seen)
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            assert data, (pattern, self.seen)
            self.seen += data.decode(errors="replace")
        self.seen = self.seen[match.end():]
        return match

    def echoes(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def end(self):
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


# --- commands ---


@pytest.mark.smoke
def test_a_command_and_its_exit_code(daemon, program, folder):
    d = daemon()
    ctl = Ctl(program, d)
    make_image(folder / "a b.iso", 2048 * 100)
    assert ctl.out("insert", "0", "a b.iso", cwd=folder).splitlines()[-1] == "slot0: inserted a b.iso, 204800 bytes, read-only"
    assert d.slot()["image"] == f"{folder}/a b.iso"
    assert "already has a medium" in ctl.refused("insert", "0", "a b.iso", cwd=folder)
    assert re.search(r"^0 +slot0 +cd +ready ", ctl.out("status"), re.M) and "ok" not in ctl.out("status").split()
    assert ctl.out("eject", "slot0") == "slot0: empty\n"
    assert ctl.out("eject", "slot0", "--json") == '{"message":"slot0: empty"}\n'
    for words, said in ((("bogus",), "unknown command"), (("insert", "0"), "usage: insert SLOT"), (("insert", "0", "x", "--bogus"), "--bogus"),
                        (("insert", "0", "x", "--user"), "needs a value"), (("insert", "0", "x", "--dry-run=1"), "has no value"),
                        (("insert", "0", "a\nquit"), "line's end"), (("insert", "0", "a", "--user", "u\nquit"), "line's end"),
                        (("insert", "0", "a", "serial=u\nquit"), "line's end"), (("insert", "0", "x" * 5000), "too long"),
                        (("insert", "0", "x", "--password-file=/no/such"), "No such file"), (("serve", "0"), "for programs")):
        assert said in ctl.refused(*words, code=2), words
    assert "unknown option" in ctl.refused("--bogus", code=2)
    completed = subprocess.run([program, "--complete", ctl.start[1], "insert", "--user", "somebody", "slot0", ""], capture_output=True,
                               text=True, check=True, timeout=60)
    assert ":files" in completed.stdout.splitlines() and completed.stderr == ""
    assert ctl.out("quit") == "stopping\n"
    d.stop(None)
    assert "is it running?" in ctl.refused("status", code=3)
    error = json.loads(ctl.out("--json", "status", code=3))["error"]
    assert f"{d.folder}/control.sock" in error


def test_without_a_daemon_there_is_help(program):
    text = subprocess.run([program, "help"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "insert SLOT URL" in text and "--password-file" in text
    assert "trace on|off" in subprocess.run([program, "help", "trace"], capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_daemon_that_goes_without_an_answer(program, folder):
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "s"))
    server.listen()
    for said, code, words in ((b"", 3, "hung up"), (b"half an answer\n", 4, "has gone")):
        asked = subprocess.Popen([program, f"--socket={folder}/s", "status"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        connection, _ = server.accept()
        assert connection.recv(100) == b"status\n"
        connection.sendall(said)
        connection.close()
        _, error = asked.communicate(timeout=60)
        assert asked.returncode == code and words in error
    server.close()


def test_the_socket_is_found_as_the_daemon_finds_it(daemon, program, folder):
    d = daemon(config="[slot cd]\n")
    text = d.config.read_text()
    d.config.write_text(f"[daemon]\nruntime-dir = {d.folder}\n" + text)
    by = [["-c", d.config], ["--no-config", "--set", f"daemon.runtime-dir={d.folder}"],
          ["--no-config", "--set", f"daemon.control-socket={d.folder}/control.sock"]]
    for options in by:
        for start in ([program], [binary(), "ctl"]):
            out = subprocess.run([*start, *map(str, options), "slots"], capture_output=True, text=True, check=True, timeout=60).stdout
            assert out.startswith("0 cd cd nbd+unix://")
    d.config.write_text("[slot cd]\nbogus = 1\n")
    done = subprocess.run([program, "-c", d.config, "slots"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and f"{d.config}:2: unknown key" in done.stderr


def test_json_of_every_command(daemon, program, folder):
    d = daemon()
    ctl = Ctl(program, d)
    make_image(folder / "x.iso", 2048 * 100)
    commands = [line.split()[0] for line in ctl.out("help").splitlines() if not line.startswith(" ")]
    asked = {"help": ["commands"], "status": ["version", "slots", "cache"], "slots": ["slots"], "cache": ["limit"], "stats": ["slots"],
             "insert 0 " + str(folder / "x.iso"): ["slot"], "trace on": ["message"], "trace off 0": ["message"], "log info": ["message"],
             "reload": ["message"], "dismiss 0": ["message"], "eject 0": ["message"]}
    fail = ("host status", "report 0", "profile 0", "eject 9", "insert 0 /no/such", "insert 0 " + str(folder / "x.iso") + " kernel-args=a dry-run")
    assert set(commands) - {c.split()[0] for c in [*asked, *fail]} == {"serve", "quit", "watch"}
    for command, members in asked.items():
        answer = d.ask(command + " --json")
        assert len(answer) == 2 and answer[1].startswith("ok"), answer
        assert set(members) <= set(json.loads(answer[0])), answer
        if not command.startswith(("insert", "eject")):
            assert json.loads(ctl.out("--json", *command.split())).keys() == json.loads(answer[0]).keys()
    for command in fail:
        answer = d.ask(command + " --json")
        assert len(answer) == 2 and answer[1] == "error: " + json.loads(answer[0])["error"], answer
        assert "error" in json.loads(ctl.out(*command.split(), "--json", code=1))
    assert json.loads(d.ask("slots --json")[0])["slots"][1]["uri"] == d.uri("slot1")
    with d.connect() as s:
        s.sendall(b"watch 1 --json\n")
        f = s.makefile()
        for _ in range(2):
            line = json.loads(f.readline())
            assert (line["name"], line["state"], line["waiting"]) == ("slot1", "empty", 0)
        s.sendall(b"\n")
        assert f.readline() == "ok\n"
    assert json.loads(ctl.out("--json", "quit")) == {"message": "stopping"}
    d.stop(None)


# --- secrets ---


class Login(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append(self.headers.get("Authorization", ""))
        self.send_error(403)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def login():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Login)
    server.seen = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_passwords_from_a_file_from_stdin_and_from_the_terminal(daemon, program, folder, login):
    d = daemon("http.http-auth=basic")
    ctl = Ctl(program, d)
    url = f"http://127.0.0.1:{login.server_port}/x.iso"
    (folder / "secret").write_text('pass "word\\ of file\nnot this\n')
    ctl.refused("insert", "0", url, "--user", "bob", f"--password-file={folder}/secret")
    ctl.refused("insert", "0", url, "--user=bob", "--password-file", "-", given="pass of stdin\n")
    ctl.refused("insert", "0", url, "--user=bob", "--password", "pass of words")
    ctl.refused("insert", "0", url, "--bearer-token-file", folder / "secret")
    terminal = Terminal([*ctl.start, "insert", "0", url, "--user", "bob"])
    terminal.until("Password")
    assert not terminal.echoes()
    terminal.type("pass of terminal\n")
    assert "pass of" not in terminal.until(r"nbd-proxyctl: .*403").string
    assert terminal.end() == 1
    sent = {base64.b64decode(seen.split()[1]).decode() for seen in login.seen if seen.startswith("Basic ")}
    assert sent == {'bob:pass "word\\ of file', "bob:pass of stdin", "bob:pass of words", "bob:pass of terminal"}
    assert 'Bearer pass "word\\ of file' in login.seen
    assert "pass of" not in d.log()


@pytest.fixture
def server(folder):
    """In the daemon's place: what is asked of it, and when it answers, is the test's."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s"))
        server.listen()
        server.settimeout(60)
        yield server


def test_a_password_in_the_words_is_in_no_list_of_processes(program, folder, server):
    asked = subprocess.Popen([program, "--set", "credentials.nas.password=SECRET0", f"--socket={folder}/s", "insert", "0", "http://h/x",
                              "--user=u", "--password", "SECRET", "bearer-token=SECRET2", "--image-files", '{"/a":"SECRET3"}',
                              'network-data= {"SECRET":4}', "--json"], stdout=subprocess.PIPE)
    connection, _ = server.accept()
    assert connection.recv(4096) == (b'insert 0 http://h/x user=u password=SECRET bearer-token=SECRET2 "image-files={\\"/a\\":\\"SECRET3\\"}" '
                                     b'"network-data= {\\"SECRET\\":4}" --json\n')
    words = pathlib.Path(f"/proc/{asked.pid}/cmdline").read_bytes()
    assert b"SECRET" not in words and b"******" in words
    connection.sendall('{"message":"\u009b2J\x7fÄ"}\nok: x\n'.encode())
    assert asked.communicate(timeout=60)[0].decode() == '{"message":"\\u009b2J\\u007fÄ"}\n' and asked.returncode == 0
    connection.close()


def test_files_of_this_folder_have_their_whole_paths(program, folder, server):
    for name in ("ca.pem", "files.json"):
        (folder / name).touch()
    for words in (("--ca-file", "ca.pem", "--image-files=files.json"), ("ca-file=ca.pem", "image-files=files.json")):
        asked = subprocess.Popen([program, f"--socket={folder}/s", "insert", "0", "files.json", *words], cwd=folder)
        connection, _ = server.accept()
        assert connection.recv(4096).decode() == f"insert 0 {folder}/files.json ca-file={folder}/ca.pem image-files={folder}/files.json\n"
        connection.sendall(b"ok\n")
        assert asked.wait(60) == 0
        connection.close()


def test_another_name_of_the_program():
    def run(*words):
        return subprocess.run([*words], executable=binary(), capture_output=True, text=True, timeout=60)
    if pathlib.Path(binary()).read_bytes()[:4] != b"\x7fELF":
        pytest.skip("a script in between has the name")
    assert run("", "--version").stdout.startswith("nbd-proxy ")
    assert "unknown command" in run("nbd-proxyctl", "passwd", "--socket=/x").stderr


# --- a terminal ---


@pytest.mark.smoke
def test_watch_on_a_terminal_is_one_line_that_lives(daemon, program):
    server = Liar(bytes(8 << 20))
    gate = threading.Event()
    server.behaviour = lambda r: (gate.wait(30) if server.held else None, r.partial(server.image))
    server.held = False
    d = daemon("http.readahead=no")
    d.ok(f"insert 0 {server.url('rescue.iso')}")
    h = handle(d.uri())
    terminal = Terminal([*Ctl(program, d).start, "watch", "0"], TERM="xterm")
    terminal.until(r"\rslot0 rescue.iso \[-+\] 0 % of 8.0 MiB  0 B/s  mean 0 B/s\x1b\[K")
    h.pread(1 << 20, 0)
    h.pread(1 << 20, 1 << 20)
    terminal.until(r"\[#+-+\] 25 % of 8.0 MiB")
    server.held = True
    reader = threading.Thread(target=lambda: h.pread(4096, 6 << 20))
    reader.start()
    terminal.until(r"B/s  1 waiting  mean")
    gate.set()
    reader.join(30)
    terminal.until(r"B/s  mean")
    terminal.type("\n")
    assert terminal.end() == 0
    interrupted = Terminal([*Ctl(program, d).start, "watch", "slot0"])
    interrupted.until("25 %")
    interrupted.type("\x03")
    assert interrupted.end() == 0
    lines = subprocess.Popen([*Ctl(program, d).start, "watch", "0"], stdout=subprocess.PIPE, text=True)  # no terminal
    assert re.fullmatch(r"slot0: ready, read 2\.0 MiB, .*", lines.stdout.readline()[:-1])
    lines.stdout.close()  # it ends with its reader
    assert lines.wait(30) == -signal.SIGPIPE
    del h
    d.ok("eject 0")
    server.stop()


def test_a_prompt_for_commands(daemon, program, folder):
    d = daemon()
    make_image(folder / "a b.iso", 2048 * 100)
    terminal = Terminal(Ctl(program, d).start, TERM="xterm", NO_COLOR="")
    terminal.until(r"(?s)help.*nbd-proxy>")
    terminal.type(f'insert 0 "{folder}/a b.iso" --writable=no\n')
    terminal.until(r"\x1b\[32mslot0: inserted a b.iso, 204800 bytes, read-only\x1b")
    terminal.type("status\n")
    terminal.until(r"\x1b\[1m#   SLOT.*\n\x1b\[32m0   slot0 +cd +ready")
    terminal.type("bogus\n")
    terminal.until(r"nbd-proxyctl: \x1b\[31munknown command")
    terminal.type("quit\n")
    terminal.until(r"Stop it\?")
    terminal.type("\n")
    terminal.until("It goes on")
    terminal.type("\x04")
    assert terminal.end() == 0
    terminal = Terminal(Ctl(program, d).start, NO_COLOR="1")
    terminal.type("status\nexit\n")
    assert "\x1b" not in terminal.until("slot1.*\n").string
    assert terminal.end() == 0
    assert d.ok("status")


def test_commands_of_stdin(daemon, program, folder):
    ctl = Ctl(program, daemon())
    out = ctl.out(given="# a comment\n\nslots\n trace on 0\nexit\nbogus\n")
    assert len(out.splitlines()) == 3 and out.endswith("trace is on: see the log\n")
    done = ctl.run(given='eject 7\nslots\ninsert 0 "x\n' + "x" * 5000 + "\nslots", code=2)
    assert len(done.stdout.splitlines()) == 4 and len(done.stderr.splitlines()) == 3
    coloured = subprocess.run([*ctl.start, "--color=always", "status"], capture_output=True, text=True, check=True, timeout=60)
    assert "\033[1m#   SLOT" in coloured.stdout


def test_a_watch_of_a_daemon_that_hangs_can_be_left(program, folder, server):
    terminal = Terminal([program, f"--socket={folder}/s", "watch", "0"])
    connection, _ = server.accept()
    assert connection.recv(4096) == b"watch 0 --json\n"
    connection.sendall(b'{"name":"slot0","state":"empty"}\n')
    terminal.until("slot0 empty")
    terminal.type("\x03")
    assert connection.recv(4096) == b"\n"  # it waits for the last line
    terminal.type("\x03")
    assert terminal.end() == -signal.SIGINT
    connection.close()


# --- completion ---


def bash(environment, *words):
    script = """
        source "$COMPLETION/nbd-proxyctl.bash"
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _nbd_proxyctl; printf '%s\\n' "${COMPREPLY[@]}" """
    # As readline has it, "=" is a word by itself.
    parts = [part for word in words for part in (re.split("(=)", word) if word.startswith("--") and "=" in word else [word])]
    parts = [part for i, part in enumerate(parts) if part or i == len(parts) - 1]
    return subprocess.run(["bash", "-c", script, "bash", *parts], env=environment, capture_output=True, text=True, timeout=60).stdout.split()


def fish(environment, *words):
    line = " ".join(words)
    out = subprocess.run(["fish", "--no-config", "-c", f"source {COMPLETION}/nbd-proxyctl.fish; complete -C '{line}'"], env=environment,
                         capture_output=True, text=True, timeout=60, check=True).stdout
    return [entry.split("\t")[0] for entry in out.splitlines()]


def zsh(environment, *words):
    """With stand-ins for what only is there while a line is edited."""
    script = """
        compadd() { shift; print -l -- "$@"; }; _files() { print -l -- *(N); }
        words=("$@"); CURRENT=$#; f() { source "$COMPLETION/_nbd-proxyctl"; }; f; true"""
    last = words[-1]
    out = subprocess.run(["zsh", "-f", "-c", script, "zsh", *words], env=environment, capture_output=True, text=True, timeout=60, check=True)
    return [entry for entry in out.stdout.splitlines() if entry.startswith(last)]  # compadd itself does that


@pytest.mark.parametrize("shell", [bash, zsh, fish], ids=lambda f: f.__name__)
def test_shells_complete_by_the_programs_own_words(daemon, program, folder, shell):
    if not shutil.which(shell.__name__):
        pytest.skip(f"needs {shell.__name__}")
    d = daemon()
    environment = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", "COMPLETION": str(COMPLETION), "HOME": str(folder)}
    where = f"--socket={d.folder}/control.sock"
    assert "status" in shell(environment, "nbd-proxyctl", "sta") and "insert" not in shell(environment, "nbd-proxyctl", "sta")
    assert shell(environment, "nbd-proxyctl", "--jso") == ["--json"]
    assert set(shell(environment, "nbd-proxyctl", where, "eject", "slot")) == {"slot0", "slot1"}
    assert set(shell(environment, "nbd-proxy", "ctl", where, "eject", "slot")) == {"slot0", "slot1"}
    assert "passwd" in shell(environment, "nbd-proxy", "pas")
    assert set(shell(environment, "nbd-proxyctl", "insert", "0", "x", "--eject")) == {"--eject-policy"}
    assert "--password-file" in shell(environment, "nbd-proxyctl", "insert", "0", "x", "--pass")
    assert set(shell(environment, "nbd-proxyctl", "insert", "0", "x", "--verify", "")) == {"yes", "no"}
    assert shell(environment, "nbd-proxyctl", "host", "reset", "ForceRes") == ["ForceRestart"]
    assert [w.rsplit("/", 1)[-1] for w in shell(environment, "nbd-proxyctl", "insert", "0", f"{COMPLETION}/nbd-proxyctl.b")] in (
        ["nbd-proxyctl.bash"], [] if shell is zsh else None)
    if shell is not fish:
        syntax = subprocess.run([shell.__name__, "-n", COMPLETION / {"bash": "nbd-proxyctl.bash", "zsh": "_nbd-proxyctl"}[shell.__name__]])
        assert syntax.returncode == 0


# --- the manual ---


def test_the_manual_has_every_option_and_exit_code():
    manual, text = page("nbd-proxyctl.1"), subprocess.run([binary(), "ctl", "--help"], capture_output=True, text=True, check=True).stdout
    for option in re.findall(r"--[a-z-]+", text):
        assert option in manual, option
    codes = re.findall(r"CTL_[A-Z]+ = (\d)", (TOP / "src" / "ctl" / "ctl.h").read_text())
    assert re.findall(r"^ {5}(\d) ", section(manual, "EXIT STATUS"), re.M) == codes and len(codes) == 5
