"""The control socket, the configuration and the daemon's life."""
import fcntl
import grp
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import termios
import threading
import time

import nbd
import pytest

from conftest import TOP, binary, wait_for
from liar import Liar, stall
from test_nbd import handle


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
    assert names == "help status slots insert serve eject dismiss host cache stats report profile trace log reload quit watch".split()
    for command in ("status", "slots", "cache", "stats", "stats 1", "trace on", "trace off slot0", "log debug", "log info", ""):
        assert d.ok(command)
    assert d.ok("help trace") == ["trace on|off [SLOT]", "    Logs each read and write, or stops it.", "ok"]
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
    assert "try: help" in d.error("help bogus")
    assert "usage: trace on|off" in d.error("trace 0")


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


def answers(d):
    """None while there is no place for one more client."""
    try:
        return d.ask("status")[-1:] == ["ok"]
    except (ConnectionResetError, BrokenPipeError):
        return None


@pytest.mark.smoke
@pytest.mark.parametrize("reads", (True, False))
def test_who_watched_and_went_leaves_a_free_place(daemon, reads):
    d = daemon("daemon.control-connections=2")
    for _ in range(3):
        with d.connect() as s:
            s.sendall(b"watch 0\n")
            if reads:  # else it goes with a reset
                assert s.recv(1000).startswith(b"slot0: empty")
            else:
                wait_for(lambda: fcntl.ioctl(s, termios.FIONREAD, bytes(4)) != bytes(4), "the first line")
        wait_for(lambda: answers(d), "a free place")


def test_watch_shows_what_is_read(daemon):
    server = Liar(bytes(6_000_000))
    server.behaviour = lambda r: (time.sleep(0.1), r.partial(server.image))
    d = daemon("daemon.control-connections=2")
    d.ok(f"insert 0 {server.url()}")
    h = handle(d.uri())
    with d.connect() as s:
        s.sendall(b"watch slot0\n")
        lines = s.makefile()
        assert lines.readline().startswith("slot0: ready, read 0 B, 0 B/s, mean 0 B/s, 0.0 % of the reads waited")
        for _ in range(2):
            h.pread(1_000_000, 0)
        form = r"slot0: ready, read (.*), ([\d.]+) (?:[KM]i)?B/s, mean [\d.]+ (?:[KM]i)?B/s, ([\d.]+) % of the reads waited, round trip ([\d.]+) ms(?:, \d+ waiting)?\n"
        shown = [re.fullmatch(form, lines.readline()).groups()]
        while shown[-1][1] != "0" or shown[-1][0] != "1.9 MiB":
            shown.append(re.fullmatch(form, lines.readline()).groups())
        assert max(float(rate) for _, rate, _, _ in shown) > 0
        assert 0 < float(shown[-1][2]) <= 100
        assert float(shown[-1][3]) >= 10  # on a busy machine libcurl takes the time a little after the request has gone

    wait_for(lambda: answers(d), "a free place")  # the one that was closed leaves it
    told = d.ask("stats 0", "cache")
    assert "read-bytes: 2000000" in told and any(line.startswith("live: ") for line in told)
    server.stop()


def test_trace_logs_each_read(daemon, folder):
    d = daemon()
    (folder / "image").write_bytes(bytes(65536))
    d.ok(f"insert 0 {folder}/image")
    h = handle(d.uri())
    d.ok("trace on 0")
    h.pread(65536, 0)
    wait_for(lambda: "slot0: trace: read 0+65536" in d.log(), "the trace")
    d.ok("trace off")
    h.pread(512, 4096)
    d.ok("trace on")
    h.pread(512, 8192)
    wait_for(lambda: "read 8192+512" in d.log(), "the trace")
    assert "read 4096+512" not in d.log()


def test_the_level_decides_what_is_logged(daemon, folder):
    d = daemon()
    (folder / "image").write_bytes(bytes(65536))
    d.ok("log error")
    d.ok(f"insert 0 {folder}/image")
    assert "inserted" not in d.log()
    d.ok("log debug")
    d.ok("eject 0")
    assert "debug" in d.log() and "slot0: ready -> detaching" in d.log() and "slot0: ejected" in d.log()


def test_the_journal_gets_priorities(folder):
    with open(folder / "log", "wb") as log:
        st = os.fstat(log.fileno())
        process = subprocess.Popen([binary(), "--no-config", "--set", f"daemon.runtime-dir={folder}"], stderr=log,
                                   env={**os.environ, "JOURNAL_STREAM": f"{st.st_dev}:{st.st_ino}"})
    wait_for(lambda: "ready:" in (folder / "log").read_text(), "the daemon")
    process.terminate()
    assert process.wait(20) == 0
    lines = (folder / "log").read_text().splitlines()
    assert "<5>nbd-proxy: stopped" in lines and all(re.match(r"<[3-7]>[\w-]+: ", line) for line in lines)


def as_nobody(d, group, *more):
    """What a process of nobody's gets to read, in that group and those."""
    for place in (d.folder.parent, d.folder):
        place.chmod(0o755)
    return subprocess.run(["socat", "-t5", "-", f"UNIX-CONNECT:{d.folder}/control.sock"], input=b"slots\n", capture_output=True,
                          timeout=30, user=65534, group=group, extra_groups=more).stdout


@pytest.mark.skipif(os.getuid() != 0, reason="it takes root to be somebody else")
def test_who_may_use_the_control_socket(daemon):
    group = grp.getgrgid(65534).gr_name
    anybody = daemon("daemon.control-mode=0666")
    ours = daemon("daemon.control-mode=0660", f"daemon.control-group={group}", f"slot.slot0.socket-group={group}")
    assert as_nobody(anybody, 65534) == b""  # the file's mode alone is not enough
    assert "user 65534 (process" in anybody.log() and "was refused" in anybody.log()
    assert as_nobody(ours, 65534).endswith(b"ok\n")
    assert as_nobody(ours, 1) == b""  # for the kernel he is not in the group
    assert as_nobody(ours, 1, *range(2, 200), 65534).endswith(b"ok\n")  # a supplementary one, of many
    assert os.stat(ours.folder / "control.sock").st_gid == os.stat(ours.folder / "slot0.sock").st_gid == 65534


@pytest.mark.skipif(os.getuid() != 0, reason="it takes root to be somebody else")
def test_in_the_group_is_whose_process_is(daemon):
    d = daemon("daemon.control-mode=0666", f"daemon.control-group={grp.getgrgid(65534).gr_name}")
    assert as_nobody(d, 1) == as_nobody(d, 1, *range(2, 200)) == b""  # nobody's own group, but not of this process
    assert as_nobody(d, 1, 65534).endswith(b"ok\n")


@pytest.fixture
def names(folder):
    """A daemon's environment in which users and groups can't be asked for once the file NAMES_AWAY is there."""
    library = folder / "names.so"
    subprocess.run([shutil.which("cc") or "gcc", "-shared", "-fPIC", "-o", library, str(TOP / "test/system/names.c"), "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "NAMES_AWAY": str(folder / "away")}


@pytest.mark.plain(only=True)
@pytest.mark.skipif(os.getuid() != 0, reason="it takes root to be somebody else")
def test_nobody_waits_for_a_name_service(daemon, folder, names):
    group, text = grp.getgrgid(65534).gr_name, "[daemon]\ncontrol-mode = 0666\ncontrol-group = {}\n{}[slot cd]\n"
    d = daemon(config=text.format(group, ""), environment=names)
    (folder / "away").touch()
    assert as_nobody(d, 1) == b"" and as_nobody(d, 1, 65534).endswith(b"ok\n")
    d.config.write_text(text.format("no-such-group", f"control-socket = {d.folder}/other.sock\n"))
    assert 'no group "no-such-group" in /etc/group' in d.error("reload")
    d.config.write_text(text.format(grp.getgrgid(1).gr_name, f"control-socket = {d.folder}/other.sock\n"))
    assert "a member of the group" in d.error("reload")  # which it gives a socket at its start only
    d.config.write_text(text.format(grp.getgrgid(0).gr_name, f"control-socket = {d.folder}/other.sock\n"))
    d.ok("reload")
    assert os.stat(d.folder / "other.sock").st_gid == 0


def test_what_changes_something_is_in_the_audit_log(daemon, folder):
    (folder / "image").write_bytes(bytes(8192))
    d = daemon(config="[slot cd]\n")
    who = f'user="{pwd.getpwuid(os.getuid()).pw_name}" peer="control uid={os.getuid()} pid={os.getpid()} name={open("/proc/self/comm").read()[:-1]}"'
    d.ok(f"insert 0 {folder}/image user=CANARY password=CANARY")
    d.ok("eject cd")
    d.error("insert 0 http://127.0.0.1:1/x.iso?token=CANARY verify=no bearer-token=CANARY replace")
    d.error("insert 7 /x")
    d.error("insert 0 /x password=CANARY colour=red")
    d.error("host reset ForceOff")
    d.error("host boot Cd")
    d.ok("trace off")
    d.ok("trace off 0")
    for level in ("error", "warning", "debug", "info"):  # the second one is said at neither level
        d.ok(f"log {level}")
    d.ok("reload")
    for command in ("status --json", "slots", "stats", "cache", "help"):
        d.ok(command)
    d.ok("quit")
    d.stop(None)
    lines = [line.partition("audit: ")[2] for line in d.log().splitlines() if "audit: " in line]
    url = 'subject="cd" detail="http://127.0.0.1:1/x.iso?..."'
    assert lines == [
        f'insert: {who} subject="cd" detail="{folder}/image"', f'eject: {who} subject="cd"', f"insert: {who} {url}",
        f"certificates unchecked: {who} {url}", f'host reset: {who} detail="ForceOff"', f'host boot: {who} detail="Cd Once"',
        f'trace: {who} detail="off"', f'trace: {who} subject="cd" detail="off"', f'log level: {who} detail="error"',
        f'log level: {who} detail="debug"', f'log level: {who} detail="info"', f"reload: {who}", f"quit: {who}"]
    assert "CANARY" not in d.log()


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


def test_a_hangup_with_a_bad_file_changes_nothing(daemon):
    d = daemon(config="[slot a]\n[slot b]\n")
    d.config.write_text("[slot a]\nmedia = tape\n")
    d.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "nothing was changed" in d.log(), "the complaint")
    assert ":2: " in d.log() and len(d.status()["slots"]) == 2


@pytest.mark.parametrize("text,where,what", [
    ("[daemon]\ncashe-size = 1M\n", ":2:", 'did you mean "cache-size"'),
    ("[slot a]\nmedia = tape\n", ":2:", "expected one of cd, disk"),
    ("[slot a]\n[slot a]\n", ":2:", "twice"),
    ("", "", "there is no slot"),
    ("[slot a]\nusb-gadget = ../x\n", "a: ", "expected letters, digits, _ and -"),
    ("[slot a]\nusb-function = 0/lun.0\n", "a: ", "expected letters, digits, _ and -"),
    ("[slot a]\nusb-gadget = x\n[slot b]\nusb-gadget = x\n", "b: ", "two slots have the same usb-gadget"),
    ("[web]\nlisten-plain = 127.0.0.1:80 0.0.0.0:80\n[slot a]\n", "0.0.0.0:80: ", "use listen for HTTPS"),
    ("[web]\nlisten = 127.0.0.1\n[slot a]\n", ":2: ", "addresses with ports"),
    ("[slot a]\nimage = tftp://h/x.iso\n", ":2: ", "an absolute path, or a URL that begins with https://"),
    ("[slot a]\nusb-gadget = nbd-proxy-b\n[slot b]\n", "b: ", "two slots have the same usb-gadget"),
])
def test_check_config_names_line_and_expectation(folder, text, where, what):
    (folder / "conf").write_text(text)
    result = run("--check-config", "-c", str(folder / "conf"))
    assert result.returncode == 78
    assert where in result.stderr and what in result.stderr and len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("text,what", [
    ("control-group = no-such-group\n", "control-group = no-such-group: expected a group that is there"),
    ("file-directory = {folder}/none\n", "expected a folder that can be read: No such file or directory"),
    ("file-directory = {folder}/conf\n", "expected a folder that can be read: Not a directory"),
    ("[http]\nca-file = {folder}/none.pem\n", "expected a file that can be read: No such file"),
    ("[credentials a]\norigin = sftp://h/\nuser = u\nssh-key = {folder}\n", "expected a file that can be read: Is a directory"),
    ("[slot b]\nimage = {folder}/none.iso\n", "image = ...: expected a file that can be read: No such file"),
])
def test_check_config_looks_for_what_is_named(folder, text, what):
    text = ("[slot a]\n[daemon]\n" + text).format(folder=folder)
    (folder / "conf").write_text(text)
    checked = run("--check-config", "-c", str(folder / "conf"))
    assert checked.returncode == 78 and f"conf:{text.count(chr(10))}: " in checked.stderr and what in checked.stderr, checked
    assert run("--dump-config", "-c", str(folder / "conf")).returncode == 0  # a start does not ask: it may come


def test_check_config_has_a_certificate_and_its_key_fit(folder, certificates):
    for key, code in (("good", 0), ("self", 78)):
        (folder / "conf").write_text(f"[slot a]\n[web]\nlisten = [::]:443\ncertificate = {certificates}/good.pem\n"
                                     f"certificate-key = {certificates}/{key}.key\n")
        checked = run("--check-config", "-c", str(folder / "conf"))
        assert checked.returncode == code and ("web: certificate: " in checked.stderr) == (code != 0), checked


def test_a_gadgets_name_does_not_change_by_a_reload(daemon, folder):
    text = f"[daemon]\nruntime-dir = {folder}/0\n[slot a]\nattach = socket\nusb-gadget = %s\n"
    d = daemon(config=text % "one")
    d.config.write_text(text % "other")
    assert "usb-gadget can't change while the daemon runs" in d.error("reload")
    d.config.write_text(text % "one" + "usb-power = 200\n")
    d.ok("reload")


def test_exit_codes(folder):
    assert run("--bogus").returncode == 2
    assert run("surplus", "words").returncode == 2
    assert run("-c", str(folder / "none"), "--check-config").returncode == 78
    assert run("--no-config", "--set", "daemon.x=1").returncode == 78
    assert run("--no-config", "--check-config").returncode == 0
    version = run("--version").stdout.splitlines()
    assert version[0].startswith("nbd-proxy ") and version[1].startswith("protocols: https http ") and len(version) == 2


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
    d = daemon(ca, "daemon.log-level=debug", "http.user=bob", "http.password=CANARY-CONFIG",
               f"credentials.nginx.origin={nginx.url('')}", "credentials.nginx.user=bob", "credentials.nginx.password=CANARY-SECTION")
    d.ok(f"insert 0 {nginx.url('auth/image.iso')} user=alice password=CANARY-PASSWORD")
    d.ok("trace on")
    d.error(f"insert 1 {nginx.url('auth/image.iso')} user=alice password=CANARY-WRONG")
    d.error(f"insert 1 https://alice:CANARY-URL@127.0.0.1:{nginx.port['https']}/image.iso")
    subprocess.run(["nbdcopy", d.uri(), folder / "copy"], check=True)
    everything = d.log() + "".join(d.ask("status", "status --json", "stats", "slots"))
    for name in ("cmdline", "environ"):
        everything += open(f"/proc/{d.process.pid}/{name}", errors="replace").read()
    assert "CANARY" not in everything
    dump = run("--no-config", "--set", "http.user=u", "--set", "http.password=CANARY", "--set", "credentials.c.origin=https://h/",
               "--set", "credentials.c.user=u", "--set", "credentials.c.password=CANARY", "--dump-config")
    assert "\norigin = https://h/\nuser = u\n# password = (not shown)\n" in dump.stdout
    assert "CANARY" not in dump.stdout + dump.stderr


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_at_once(daemon, second):
    server = Liar(bytes(16 << 20))  # its beginning and end are fetched at the insert
    d = daemon()
    d.ok(f"insert 0 {server.url()}")
    h = handle(d.uri())
    server.behaviour = stall
    thread = threading.Thread(target=lambda: pytest.raises(nbd.Error, h.pread, 512, 8 << 20))
    thread.start()
    wait_for(lambda: d.slot()["clients"]["waiting"] > 0, "the read that the stop would wait for")
    d.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "stopping" in d.log(), "the stop")
    assert d.process.poll() is None
    d.process.send_signal(second)
    assert d.process.wait(10) == 128 + second  # a stop that has come to its end is 0
    thread.join()
    server.stop()
    d.killed = True


@pytest.mark.parametrize("allowed", [True, False])
def test_a_medium_with_a_password_goes_on_only_if_the_file_may_hold_it(daemon, nginx, ca, allowed):
    arguments = [ca, f"daemon.state-secrets={'yes' if allowed else 'no'}"]
    d = daemon(*arguments)
    d.ok(f"insert 0 {nginx.url('auth/image.iso')} user=alice password=CANARY-PASSWORD")
    d.kill()
    assert ("CANARY" in d.state()) == allowed
    assert os.stat(d.folder / "state.json").st_mode & 0o777 == 0o600
    d.__init__(d.folder, *arguments)
    if allowed:
        wait_for(lambda: d.slot()["state"] == "ready", "the medium of before")
        assert len(handle(d.uri()).pread(512, 0)) == 512
    else:
        wait_for(lambda: "state-secrets" in d.log(), "the reason")
        assert d.slot()["state"] == "empty"


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
