"""The control socket, the configuration and the daemon's life."""
import os
import signal
import socket
import subprocess
import time

import pytest

from conftest import binary, wait_for


def run(*arguments):
    return subprocess.run([binary(), *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.smoke
def test_insert_status_eject(daemon, nginx, ca):
    d = daemon(ca)
    url = nginx.url("image.iso?token=CANARY")
    assert d.ok(f"insert 0 {url}")[-1] == "ok: slot0: inserted image.iso, 6000123 bytes, read-only"
    slot = d.slot()
    assert (slot["state"], slot["size"], slot["image_name"], slot["error"]) == ("ready", 6000123, "image.iso", None)
    assert slot["image"].endswith("/image.iso?...")
    assert "already has a medium" in d.error(f"insert slot0 {url}")
    assert d.ok("eject slot0")[-1] == "ok: slot0: empty"
    assert d.ok("eject 0")[-1] == "ok: slot0: empty"
    assert d.slot()["state"] == "empty"
    assert "CANARY" not in d.log()


def test_every_command_of_help_answers(daemon):
    d = daemon()
    names = [line.split()[0] for line in d.ok("help") if not line.startswith(("    ", "ok"))]
    assert names == "help status slots insert eject host cache stats trace log reload quit watch".split()
    for command in ("status", "slots", "cache", "stats", "stats 1", "trace on", "trace off slot0", "log debug", "log info", ""):
        assert d.ok(command)
    assert d.ok("slots")[0] == f"0 slot0 cd nbd+unix:///?socket={d.folder}/slot0.sock"


def test_errors_say_what_to_do(daemon):
    d = daemon()
    assert "try: help" in d.error("bogus")
    assert "see: slots" in d.error("eject 7")
    assert "see: slots" in d.error("insert nowhere x")
    assert "usage: insert SLOT URL" in d.error("insert 0")
    assert "expected user=" in d.error("insert 0 http://h/x colour=red")
    assert "SECRET" not in d.error("insert 0 http://h/x passwort=SECRET")
    assert "quote" in d.error('insert 0 "x')
    assert "expected error" in d.error("log loud")


def test_lines_in_any_pieces_and_in_order(daemon):
    d = daemon()
    with d.connect() as s:
        for byte in b"slots\nbogus\nslots":
            s.send(bytes([byte]))
        s.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: s.recv(4096), b"")).decode().splitlines()
    assert [line.split(":")[0].split()[0] for line in answer] == ["0", "1", "ok", "error", "0", "1", "ok"]


def test_a_line_too_long_is_refused(daemon):
    d = daemon()
    with d.connect() as s:
        try:
            s.sendall(b"x" * (1 << 20))
        except OSError:
            pass
        assert s.recv(4096).startswith(b"error: the line is too long")
        try:
            assert s.recv(1) == b""
        except ConnectionResetError:
            pass
    assert d.ok("status")


def test_many_connections_are_bounded(daemon):
    d = daemon("daemon.control-connections=4")
    held = [d.connect() for _ in range(4)]
    for s in held:
        s.sendall(b"slots\n")
        assert s.recv(4096)
    for _ in range(300):
        with d.connect() as s:
            s.settimeout(5)
            try:
                assert s.recv(1) == b""
            except ConnectionResetError:
                pass
    for s in held:
        s.close()

    def answered():
        try:
            return d.ask("slots")
        except ConnectionResetError:  # refused: the daemon has not yet seen all of the closes
            return None

    wait_for(answered, "a free place")


def test_quoting_holds_blanks(daemon, folder):
    d = daemon()
    image = folder / 'with blank "and quote"'
    image.write_bytes(bytes(8192))
    quoted = str(image).replace('"', '\\"')
    assert "8192 bytes" in d.ok(f'insert 0 "{quoted}"')[-1]


def test_socat_one_shot(daemon):
    d = daemon()
    answer = subprocess.run(["socat", "-t60", "-", f"UNIX-CONNECT:{d.folder}/control.sock"], input=b"status\nslots\n",
                            capture_output=True, timeout=60).stdout.decode()
    assert answer.count("ok\n") == 2 and "slot1" in answer


def test_watch_shows_progress_until_a_line(daemon):
    d = daemon()
    with d.connect() as s:
        s.sendall(b"watch 0\n")
        f = s.makefile()
        assert f.readline().startswith("slot0: empty, read 0 B")
        assert f.readline().startswith("slot0: empty, read 0 B")
        s.sendall(b"\nslots\n")
        lines = [f.readline() for _ in range(4)]
        assert lines[0] == "ok\n" and lines[3] == "ok\n"


def test_trace_logs_each_read(daemon, folder):
    d = daemon()
    (folder / "image").write_bytes(bytes(65536))
    d.ok(f"insert 0 {folder}/image")
    d.ok("trace on 0")
    subprocess.run(["nbdcopy", d.uri(), folder / "copy"], check=True)
    wait_for(lambda: "slot0: trace: read 0+65536" in d.log(), "the trace")


def test_sockets_have_their_mode_and_replace_stale_ones(daemon, folder):
    first = daemon("daemon.control-mode=0660", "slot.slot0.socket-mode=0640")
    assert os.stat(first.folder / "control.sock").st_mode & 0o777 == 0o660
    assert os.stat(first.folder / "slot0.sock").st_mode & 0o777 == 0o640
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(folder / "stale"))
    stale.close()
    d = daemon(f"slot.slot0.socket={folder}/stale")
    assert d.connect("../stale").recv(18).startswith(b"NBDMAGIC")


@pytest.mark.parametrize("kind", ["live", "file", "link", "long", "folder"])
def test_paths_that_cannot_be_sockets_are_refused(folder, kind):
    path = folder / "s"
    live = socket.socket(socket.AF_UNIX)
    if kind == "live":
        live.bind(str(path))
        live.listen()
    elif kind == "file":
        path.write_text("precious")
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "folder":
        path = folder / "missing" / "s"
    else:
        path = folder / ("x" * 100)
    result = run("--no-config", "--set", f"daemon.runtime-dir={folder}", "--set", f"slot.slot0.socket={path}")
    assert result.returncode in (1, 78)
    assert len(result.stderr.strip().splitlines()) == 1
    assert "107 characters" in result.stderr if kind == "long" else str(path) in result.stderr
    if kind == "file":
        assert path.read_text() == "precious"
    assert not (folder / "control.sock").exists()


# --- configuration ---


@pytest.mark.parametrize("text,where,what", [
    ("[daemon]\ncashe-size = 1M\n", ":2:", 'did you mean "cache-size"'),
    ("[slot a]\nmedia = tape\n", ":2:", "expected one of cd, disk"),
    ("[slot a]\n[slot a]\n", ":2:", "twice"),
    ("", "", "there is no slot"),
])
def test_check_config_names_line_and_expectation(folder, text, where, what):
    (folder / "conf").write_text(text)
    result = run("--check-config", "-c", str(folder / "conf"))
    assert result.returncode == 78
    assert where in result.stderr and what in result.stderr and len(result.stderr.splitlines()) == 1


def test_exit_codes(folder):
    assert run("--bogus").returncode == 2
    assert run("surplus").returncode == 2
    assert run("-c", str(folder / "none"), "--check-config").returncode == 78
    assert run("--no-config", "--set", "daemon.x=1").returncode == 78
    assert run("--no-config", "--check-config").returncode == 0
    assert run("--version").stdout.startswith("nbd-proxy ")


def test_dump_reads_back(folder):
    first = run("--no-config", "--set", "http.io-timeout=7s", "--dump-config")
    (folder / "conf").write_text(first.stdout)
    assert run("-c", str(folder / "conf"), "--dump-config").stdout == first.stdout


SLOTS = "[slot a]\nimage = {image}\n[slot b]\nmedia = disk\n"


def test_reload_touches_only_what_changed(daemon, folder):
    image = folder / "image"
    image.write_bytes(bytes(range(256)) * 64)
    d = daemon(config=SLOTS.format(image=image))
    wait_for(lambda: d.slot(0)["state"] == "ready", "the configured image")
    with d.connect("a.sock") as client:
        assert client.recv(18).startswith(b"NBDMAGIC")
        d.config.write_text(SLOTS.format(image=image) + "writable = yes\n[slot c]\n[http]\n")
        assert d.ok("reload")[-1] == "ok: reloaded"
        slots = d.status()["slots"]
        assert [s["name"] for s in slots] == ["a", "b", "c"] and slots[0]["state"] == "ready"
        client.sendall(b"\0\0\0\3IHAVEOPT\0\0\0\3\0\0\0\0")
        assert client.recv(20)
    d.config.write_text(SLOTS.format(image=image) + "bogus = 1\n")
    assert "nothing was changed" in d.error("reload")
    assert [s["name"] for s in d.status()["slots"]] == ["a", "b", "c"]
    d.config.write_text("[slot a]\nmedia = disk\n")
    d.process.send_signal(signal.SIGHUP)
    wait_for(lambda: len(d.status()["slots"]) == 1, "the reload")
    wait_for(lambda: d.slot(0)["state"] == "empty", "the eject of the changed slot")
    assert not (d.folder / "b.sock").exists() and not (d.folder / "c.sock").exists()


def test_reload_that_cannot_listen_changes_nothing(daemon, folder):
    d = daemon(config="[slot a]\n")
    (folder / "file").write_text("x")
    d.config.write_text(f"[slot a]\n[slot b]\n[slot c]\nsocket = {folder}/file\n")
    assert "not a socket" in d.error("reload")
    assert len(d.status()["slots"]) == 1
    wait_for(lambda: not (d.folder / "b.sock").exists(), "the new socket to go again")


# --- life ---


def test_quit_and_both_signals(daemon):
    a, b, c = daemon(), daemon(), daemon()
    assert a.ok("quit")[-1] == "ok: stopping"
    a.stop(None)
    b.stop(signal.SIGINT)
    c.stop(signal.SIGTERM)


def test_secrets_are_nowhere(daemon, nginx, ca, folder):
    d = daemon(ca, "daemon.log-level=debug", "http.user=bob", "http.password=CANARY-CONFIG")
    d.ok(f"insert 0 {nginx.url('auth/image.iso')} user=alice password=CANARY-PASSWORD")
    d.ok("trace on")
    d.error(f"insert 1 {nginx.url('auth/image.iso')} user=alice password=CANARY-WRONG")
    d.error(f"insert 1 https://alice:CANARY-URL@127.0.0.1:{nginx.port['https']}/image.iso")
    subprocess.run(["nbdcopy", d.uri(), folder / "copy"], check=True)
    everything = d.log() + "".join(d.ask("status", "status --json", "stats", "slots"))
    for name in ("cmdline", "environ"):
        everything += open(f"/proc/{d.process.pid}/{name}", errors="replace").read()
    assert "CANARY" not in everything
    dump = run("--no-config", "--set", "http.user=u", "--set", "http.password=CANARY", "--dump-config")
    assert "CANARY" not in dump.stdout + dump.stderr


def test_a_second_signal_stops_at_once(daemon, folder):
    d = daemon()
    image = folder / "image"
    image.write_bytes(bytes(65536))
    d.ok(f"insert 0 {image}")
    d.process.send_signal(signal.SIGSTOP)  # so that both are there when it goes on
    d.process.send_signal(signal.SIGTERM)
    d.process.send_signal(signal.SIGINT)
    d.process.send_signal(signal.SIGCONT)
    assert d.process.wait(10) in (0, 130, 143)
    d.killed = True


def test_a_stop_under_load_is_clean(daemon, nginx, ca):
    d = daemon(ca)
    d.ok(f"insert 0 {nginx.url('sparse.iso')}")
    copy = subprocess.Popen(["nbdcopy", d.uri(), "null:"], stderr=subprocess.DEVNULL)
    wait_for(lambda: d.slot()["clients"]["reads"] > 20, "the load")
    began = time.monotonic()
    d.stop()
    assert time.monotonic() - began < 15
    assert copy.wait(30) != 0


def test_remote_text_is_escaped_in_the_log(daemon):
    d = daemon()
    d.error("insert 0 http://h/\x1b[31m")
    d.error("eject \x1b[31mfoo")
    assert "\x1b" not in d.log()
