"""nbd-proxy doctor: what is missing is found and said with what to do; what is there is left alone."""
import json
import os
import pathlib
import socket
import subprocess

import pytest

from conftest import binary, free_port
from website import passwd


def doctor(*arguments, code=0):
    done = subprocess.run([binary(), "doctor", *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    return done.stdout


def findings(*arguments, code=0):
    """By topic: (result, text, advice)."""
    told = json.loads(doctor("--json", *arguments, code=code))
    assert told["healthy"] == (code == 0) == (told["errors"] == 0)
    found = {}
    for one in told["findings"]:
        assert one["result"] not in ("warning", "error") or one["advice"] or one["topic"] == "configuration", one
        found.setdefault(one["topic"], []).append((one["result"], one["text"], one["advice"] or ""))
    assert sum(result == "error" for all_ in found.values() for result, _, _ in all_) == told["errors"]
    return found, told["report"]


@pytest.fixture
def config(folder, certificates):
    """One that is as it should be, but for what the machine itself lacks: its text, to be changed, and where it is."""
    passwd(folder / "users", "admin", given="correct horse")
    text = f"""[daemon]
runtime-dir = {folder}
[web]
listen = 127.0.0.1:{free_port()}
users-file = {folder}/users
certificate = {certificates}/good.pem
certificate-key = {certificates}/good.key
[http]
allow-local = yes
io-timeout = 3s
ca-file = {certificates}/ca.pem
[slot cd]
attach = socket
"""

    def write(changed=text):
        (folder / "conf").write_text(changed)
        (folder / "conf").chmod(0o600)
        return folder / "conf"

    return text, write


def test_what_is_set_is_in_no_list_of_processes():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        origin = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        sets = [f"--set={one}" for one in ("http.allow-local=yes", f"credentials.nas.origin={origin}", "credentials.nas.user=u",
                                           "credentials.nas.password=SECRET")]
        process = subprocess.Popen([binary(), "doctor", "--no-config", *sets, f"{origin}x.iso"], stdout=subprocess.DEVNULL)
        silent.settimeout(60)
        silent.accept()[0].close()
        words = pathlib.Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.kill()
        process.wait()
    assert b"SECRET" not in words and b"credentials.nas.password=****" in words


@pytest.mark.smoke
def test_what_is_there_is_said_to_be(config, nginx):
    text, write = config
    url = nginx.url("image.iso")
    found, report = findings("-c", write(text + f"image = {url}?token=CANARY-TOKEN\npassword = CANARY-PASSWORD\nuser = reader\n"
                                          'image-files = "{\\"/x\\": \\"CANARY #FILE\\"}"\n'), nginx.url("other.iso"))
    assert found["configuration"][0][0] == found["accounts"][0][0] == found["memory"][0][0] == "ok"
    assert any(result == "ok" and "is free" in text for result, text, _ in found["ports"])
    dates, names = found["certificate"]
    assert dates[0] == "warning" and " ends on 20" in dates[1] and dates[2] == "renew it"  # in 30 days
    assert "localhost, 127.0.0.1, 10.0.2.2" in names[1]
    for image, size in ((url + "?...", "5.7 MiB"), (nginx.url("other.iso"), "2.9 MiB")):
        (result, told, _), = found[f"image {image}"]
        assert result == "ok" and told.startswith(f"{size}, ranges are served, and it is told when it changes; open after ")
        assert "round trip" in told and "/s with 4 ranges at a time" in told
    assert found["name 127.0.0.1"][0][0] == "ok"
    assert report["version"] and "https" in report["protocols"] and os.uname().release in report["kernel"]
    assert "attach = socket" in report["configuration"] and "CANARY" not in json.dumps([found, report])
    assert "image-files = {...}" in report["configuration"]
    assert "stall-timeout" not in report["configuration"]  # it is as it is by itself


def test_what_is_missing_is_said_with_what_to_do(config, nginx, certificates, folder):
    text, write = config
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        text = text.replace("[slot cd]\nattach = socket", f"""[slot cd]
attach = usb
image = {nginx.url("nothing.iso")}
[slot by-a-proxy]
attach = socket
proxy = http://127.0.0.1:{free_port()}
image = http://images.example.invalid/x.iso
[slot nowhere]
attach = nbd
image = http://images.example.invalid/x.iso""")
        text = text.replace("good.", "expired.").replace(text.split("listen = ")[1].split("\n")[0], f"127.0.0.1:{taken.getsockname()[1]}")
        (folder / "users").unlink()
        found, _ = findings("-c", write(text), code=1)
    assert any(result == "error" and "ss -ltnp" in advice for result, _, advice in found["ports"])
    assert found["certificate"][0][0] == "error" and "has ended on 2021-01-01" in found["certificate"][0][1]
    assert found["accounts"][0][0] == "error" and found["accounts"][0][2] == "nbd-proxy passwd NAME"
    assert found[f"image {nginx.url('nothing.iso')}"][0][:1] == ("error",) and "404" in found[f"image {nginx.url('nothing.iso')}"][0][1]
    images = found["image http://images.example.invalid/x.iso"]
    assert [result for result, _, _ in images] == ["error", "error"] and any("proxy" in told for _, told, _ in images)
    assert found["name images.example.invalid"][0][0] == "error"
    if not pathlib.Path("/sys/module/nbd").exists():
        assert [one for one in found["kernel"] if one[0] == "error" and "nbd" in one[1]]
    shown = doctor("-c", write(text), code=1)
    assert "error    accounts: " in shown and "\n         -> nbd-proxy passwd NAME\n" in shown and "For a bug report:" in shown


def test_it_is_no_trouble_to_a_daemon_that_runs(daemon, folder):
    port = free_port()
    d = daemon(f"web.listen=127.0.0.1:{port}", f"web.users-file={folder}/users")
    options = ["--no-config", "--set", f"daemon.runtime-dir={d.folder}", "--set", f"web.listen=127.0.0.1:{port}", "--set",
               f"web.users-file={folder}/users"]
    found, _ = findings(*options, code=1)  # nobody can log in
    assert found["daemon"][0][0] == "ok" and "it runs" in found["daemon"][0][1]
    assert found["ports"] == [("ok", f"127.0.0.1:{port} is in use, as it is to be while the daemon runs", "")]
    assert found["certificate"][0][0] == "ok" and "is good until 20" in found["certificate"][0][1]  # its own
    assert d.ok("status")


def test_a_configuration_that_is_wrong(config, folder):
    _, write = config
    found, report = findings("-c", write("[slot cd]\nbogus = 1\n"), code=1)
    assert found["configuration"][0][0] == "error" and ":2: unknown key" in found["configuration"][0][1]
    assert "configuration" not in report and found["clock"] and found["kernel"]
    found, _ = findings("-c", folder / "nothing", code=1)
    assert "--sample-config" in found["configuration"][0][2]
    assert subprocess.run([binary(), "doctor", "--bogus"], capture_output=True).returncode == 2
