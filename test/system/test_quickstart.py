"""./quickstart, with the program that is tested already built: what a newcomer sees."""
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess

import pytest

from conftest import TOP, binary, make_image, wait_for

BUILD = pathlib.Path(binary()).parent


def missing():
    """What quickstart would install or build: a test must not."""
    if not (BUILD / "Makefile").exists():
        return f"{BUILD} is no build folder"
    lists = re.findall(r"for p in ((?:[^;]|\\\n)*); do", (TOP / "quickstart").read_text())
    for name in " ".join(lists).replace("\\\n", " ").split():
        query = subprocess.run(["dpkg-query", "-W", "-f", "${Status}", name], capture_output=True, text=True)
        if "install ok installed" not in query.stdout:
            return f"not installed: {name}"
    return None


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
    for command in re.findall(r"^    (echo .*)$", text, re.M):
        assert subprocess.run(command, shell=True, capture_output=True, text=True).stdout.endswith("ok\n")
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


@pytest.mark.parametrize("arguments,code", [(["--help"], 0), (["--bogus"], 2), (["a", "b"], 2)])
def test_its_options(folder, arguments, code):
    process = start(folder, *arguments)
    out, error = process.communicate(timeout=20)
    assert process.returncode == code and b"usage: ./quickstart [IMAGE]" in out + error
