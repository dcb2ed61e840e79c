"""Images by SFTP: from OpenSSH, whole and in parallel; who the server is and who we are; servers that lie, hang, go and come back."""
import hashlib
import os
import random
import shutil
import signal
import stat
import subprocess
import threading
import time

import nbd
import paramiko
import pytest

from conftest import at_once, make_image, read_while_away, sha, wait_for
from ftpd import PASSWORD, USER
from relay import Relay
from sshd import SftpLiar, Sshd, fingerprint, keygen, user
from test_http import fails_with_eio
from test_nbd import handle

SIZE = 6_000_123
IMAGE = random.Random(8).randbytes(2_000_001)


@pytest.fixture
def image(tmp_path):
    return make_image(tmp_path / "im age.iso", SIZE)


def url_of(server, path, host="127.0.0.1"):
    return f"sftp://{host}:{server.port}{str(path).replace(' ', '%20')}"


@pytest.fixture
def sshd(tmp_path):
    """A function that starts servers."""
    started = []

    def start(**more):
        place = tmp_path / f"sshd{len(started)}"
        place.mkdir()
        started.append(Sshd(place, **more))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def liar(tmp_path):
    server = SftpLiar(IMAGE, tmp_path)
    yield server
    server.stop()


# --- reading ---


@pytest.mark.smoke
def test_a_whole_image(daemon, sshd, image):
    server = sshd()
    d = daemon(*server.options())
    d.ok(f"insert 0 {url_of(server, image)}")
    h, digest = handle(d.uri()), hashlib.sha256()
    for at in range(0, SIZE, 300_000):
        digest.update(h.pread(min(300_000, SIZE - at), at))
    assert digest.hexdigest() == sha(image)


def test_parallel_ranges_anywhere(daemon, sshd, image):
    server = sshd()
    d = daemon(*server.options(), "http.readahead=no", "daemon.cache-size=16M")
    d.ok(f"insert 0 {url_of(server, image)}")
    content, wrong = image.read_bytes(), []

    def read(seed):
        rng, h = random.Random(seed), handle(d.uri())
        for _ in range(20):
            length = rng.choice([1, 2, 3, 512, 4096, 65536, 200_000, 1_000_000])
            at = rng.randrange(SIZE - length)
            if h.pread(length, at) != content[at : at + length]:
                wrong.append((at, length))

    at_once(read, range(6))
    assert not wrong
    assert server.said().count("Accepted publickey") <= 4


def test_a_path_may_begin_at_home(daemon, liar):
    d = daemon(*liar.options())
    d.ok(f"insert 0 {liar.url('~/x.iso')}")
    assert liar.opened[-1] in ("x.iso", "/x.iso")
    assert handle(d.uri()).pread(1000, 500) == IMAGE[500:1500]


# --- who the server is ---


def test_an_unknown_host_key_is_shown_and_refused(daemon, sshd, image, liar):
    server = sshd()
    d = daemon(f"http.user={user()}", f"http.ssh-key={server.key}")
    error = d.error(f"insert 0 {url_of(server, image)}")
    assert fingerprint(server.host_keys[0]) in error and "ssh-host-key" in error
    assert d.slot()["state"] == "empty" and "Accepted" not in server.said()
    d = daemon()
    assert fingerprint(liar.key_path) in d.error(f"insert 0 {liar.url()} user={USER} password={PASSWORD}")
    assert not liar.logins  # it was told nothing
    d.ok(f"insert 0 {liar.url()} user={USER} password={PASSWORD} verify=no")


def test_fingerprints(daemon, sshd, image):
    server = sshd()
    right = fingerprint(server.host_keys[0])
    wrong = "SHA256:" + "A" * 43
    d = daemon(*server.options(ssh_host_key=wrong))
    assert right in d.error(f"insert 0 {url_of(server, image)}")
    for value in (f"{wrong} {right}", right + "="):
        e = daemon(*server.options(ssh_host_key=value))
        e.ok(f"insert 0 {url_of(server, image)}")


def test_known_hosts(daemon, sshd, image, tmp_path):
    server = sshd(kinds=("ed25519", "ecdsa"))
    known = tmp_path / "known_hosts"
    other = keygen(tmp_path / "other")
    d = daemon(*server.options(ssh_host_key="", ssh_known_hosts=known))
    url = url_of(server, image)

    def outcome(text):
        known.write_text(text)
        answer = d.ask(f"insert 0 {url}")[-1]
        d.ok("eject 0")
        return "good" if answer.startswith("ok") else answer

    assert "can't be read" in d.error(f"insert 0 {url}")
    assert outcome("# a comment\n\nnonsense\nexample.org ssh-ed25519 AAAA\n" + server.known()) == "good"
    assert outcome(server.known(server.host_keys[1])) == "good"  # the kind that is known is asked for
    assert "not the one in ssh-known-hosts" in outcome(server.known(other))
    assert "unknown" in outcome(server.known(name="127.0.0.1"))  # of port 22
    assert "unknown" in outcome("")
    assert "revoked" in outcome(server.known() + "@revoked * " + server.known().split(" ", 1)[1])
    assert "revoked" in outcome(server.known() + " \t@revoked * " + server.known().split(" ", 1)[1])
    assert "unknown" in outcome("@cert-authority " + server.known())
    known.write_text(server.known())
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, stderr=subprocess.DEVNULL)
    assert "127.0.0.1" not in known.read_text()
    hashed = known.read_text()
    assert outcome(hashed) == "good"
    _, _, salt, rest = hashed.split("|", 3)
    for wrong in (f"|1|{salt}|{rest[1:]}", f"|1|{salt}|AAAA{rest}", f" |1||{rest}", f"|1|{salt}|\n"):
        assert "unknown" in outcome(wrong)  # the sanitizer sees what libssh2 forgets for them
        assert outcome(wrong + hashed) == "good"


def test_a_server_whose_key_changes_is_not_gone_on_with(daemon, sshd, image):
    server = sshd()
    d = daemon(*server.options(), "http.readahead=no", "http.io-timeout=3s")
    d.ok(f"insert 0 {url_of(server, image)}")
    h = handle(d.uri())
    assert len(h.pread(4096, 0)) == 4096
    server.stop()
    server.host_keys[0].unlink()
    keygen(server.host_keys[0])
    server.start()
    assert fails_with_eio(h, 4096, 3_000_000)
    assert "host key" in d.slot()["error"]


# --- who we are ---


def test_logins_that_are_refused(daemon, sshd, image, tmp_path, liar):
    server = sshd()
    url, stranger = url_of(server, image), keygen(tmp_path / "stranger")
    assert "refused the login" in daemon(*server.options(ssh_key=stranger)).error(f"insert 0 {url}")
    assert "ssh-key can't be read" in daemon(*server.options(ssh_key=tmp_path / "nothing")).error(f"insert 0 {url}")
    assert "wants a login" in daemon(*server.options(ssh_key="")).error(f"insert 0 {url}")
    assert "needs a user" in daemon(*server.options(user="")).error(f"insert 0 {url}")
    assert "refused the login" in daemon(*liar.options()).error(f"insert 0 {liar.url()} user={USER} password=wrong")


def test_nothing_of_the_home_folder_or_an_agent_is_used(daemon, sshd, image, tmp_path):
    """With a key there that would be let in, and a known_hosts that knows the server."""
    server = sshd()
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    shutil.copy(server.key, home / ".ssh" / "id_ed25519")
    (home / ".ssh" / "known_hosts").write_text(server.known())
    agent = subprocess.run(["ssh-agent", "-s"], check=True, capture_output=True, text=True).stdout
    values = dict(part.split("=", 1) for part in agent.replace("\n", ";").split(";") if "=" in part)
    environment = {"HOME": str(home), **values}
    try:
        subprocess.run(["ssh-add", "-q", str(server.key)], check=True, env={**os.environ, **environment})
        d = daemon(*server.options(ssh_key=""), environment=environment)
        assert "wants a login" in d.error(f"insert 0 {url_of(server, image)}")
        e = daemon(*server.options(ssh_host_key=""), environment=environment)
        assert "unknown" in e.error(f"insert 0 {url_of(server, image)}")
    finally:
        os.kill(int(values["SSH_AGENT_PID"]), signal.SIGTERM)


@pytest.mark.parametrize("methods", ["password", "keyboard-interactive", "publickey,keyboard-interactive,password"])
def test_passwords(daemon, liar, methods):
    liar.methods = methods
    d = daemon(*liar.options())
    d.ok(f"insert 0 {liar.url()}")
    assert handle(d.uri()).pread(1000, 500) == IMAGE[500:1500]
    assert PASSWORD not in d.log()


def test_other_questions_are_not_answered(daemon, liar):
    liar.methods, liar.questions = "keyboard-interactive", [("Password: ", False), ("And your bank's: ", False)]
    d = daemon(*liar.options())
    assert "refused the login" in d.error(f"insert 0 {liar.url()}")
    assert not any(PASSWORD in login for login in liar.logins)


# --- refusals ---


def test_refusals_have_reasons(daemon, sshd, image, liar):
    server = sshd()
    d = daemon(*server.options())
    (image.parent / "empty").touch()
    for path, words in [(image.parent / "nothing.iso", "no such file"), (image.parent, "not a file"), (image.parent / "empty", "empty")]:
        assert words in d.error(f"insert 0 {url_of(server, path)}"), path
    liar.open_status = paramiko.SFTP_PERMISSION_DENIED
    assert "permissions" in daemon(*liar.options()).error(f"insert 0 {liar.url()}")
    server.stop()
    assert "check host and port" in d.error(f"insert 0 {url_of(server, image)}")


def test_what_is_not_ssh(daemon, nginx):
    d = daemon("http.user=x", "http.password=y", "http.stall-timeout=2s", "http.io-timeout=2s")
    assert "does not speak SSH" in d.error(f"insert 0 sftp://127.0.0.1:{nginx.port['http']}/x")


# --- lies and troubles ---


def test_a_file_that_is_shorter_than_it_says(daemon, liar):
    liar.size += 1
    d = daemon(*liar.options(), "http.io-timeout=4s")
    assert "ended" in d.error(f"insert 0 {liar.url()}")
    liar.size, liar.mode = len(IMAGE), stat.S_IFDIR | 0o755
    assert "not a file" in d.error(f"insert 0 {liar.url()}")


@pytest.mark.parametrize("lie", ["size", "time", "short", "end", "error"])
def test_a_lie_at_a_read_is_eio_and_passes(daemon, liar, lie):
    d = daemon(*liar.options(), "http.io-timeout=3s", "http.readahead=no")
    d.ok(f"insert 0 {liar.url()}")
    h = handle(d.uri())
    assert h.pread(1000, 500) == IMAGE[500:1500]
    time.sleep(1.1)  # what was said of the file is asked for again
    if lie == "size":
        liar.size += 512
    elif lie == "time":
        liar.modified += 1
    elif lie == "short":
        liar.read = lambda offset, length: IMAGE[offset : offset + 100] if length > 20000 else IMAGE[offset : offset + length]
    elif lie == "end":
        liar.read = lambda offset, length: paramiko.SFTP_EOF
    else:
        liar.read = lambda offset, length: paramiko.SFTP_FAILURE
    if lie == "short":  # right, or not at all
        try:
            assert h.pread(200_000, 1_000_000) == IMAGE[1_000_000:1_200_000]
        except nbd.Error:
            pass
    else:
        assert fails_with_eio(h, 4096, 1_000_000)
        assert d.slot()["error"]
    liar.size, liar.modified, liar.read = len(IMAGE), 1_700_000_000, liar.honest

    def reads():
        try:
            return h.pread(4096, 1_500_000) == IMAGE[1_500_000:1_504_096]
        except nbd.Error:
            return False

    wait_for(reads, "a read", 20)


def test_a_server_that_comes_back_is_gone_on_with(daemon, sshd, image):
    server = sshd()
    d = daemon(*server.options(), "http.readahead=no")
    d.ok(f"insert 0 {url_of(server, image)}")
    h, content = handle(d.uri()), image.read_bytes()
    assert h.pread(4096, 0) == content[:4096]
    read_while_away(d, server, h, content)


def test_a_stalled_server_holds_up_nobody_else(daemon, sshd, image):
    server = sshd()
    relay = Relay(server.port)
    try:
        d = daemon(*server.options(), "http.readahead=no", "http.stall-timeout=5s", f"credentials.relay.origin=sftp://127.0.0.1:{relay.port}/",
                   f"credentials.relay.user={user()}", f"credentials.relay.ssh-key={server.key}")
        d.ok(f"insert 0 {url_of(relay, image)}")
        d.ok(f"insert 1 {url_of(server, image)}")
        h, fine, content = handle(d.uri()), handle(d.uri("slot1")), image.read_bytes()
        assert h.pread(4096, 0) == content[:4096]
        relay.holding = True
        waiting = [h.aio_pread(nbd.Buffer(300_000), at) for at in (1_000_000, 2_000_000, 3_000_000)]
        slowest = 0
        for i in range(40):
            began = time.monotonic()
            assert fine.pread(4096, i * 100_000) == content[i * 100_000 : i * 100_000 + 4096]
            d.status()
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.05)
        assert slowest < 0.5 and waiting
        began = time.monotonic()
        d.ok("eject 0")
        assert time.monotonic() - began < 4
    finally:
        relay.stop()


def test_a_connection_that_dies_is_made_again(daemon, sshd, image):
    server = sshd()
    relay = Relay(server.port)
    try:
        d = daemon(*server.options(port=relay.port), "http.readahead=no", "http.stall-timeout=1s")
        d.ok(f"insert 0 {url_of(relay, image)}")
        h = handle(d.uri())
        relay.holding = True
        threading.Timer(2.5, lambda: setattr(relay, "holding", False)).start()
        assert h.pread(4096, 2_000_000) == image.read_bytes()[2_000_000:2_004_096]
    finally:
        relay.stop()


def test_the_file_that_is_open_stays_what_it_was(daemon, sshd, image):
    """Another that takes its name is another image: found out when the connection is made anew."""
    server = sshd()
    d = daemon(*server.options(), "http.readahead=no", "http.io-timeout=3s")
    d.ok(f"insert 0 {url_of(server, image)}")
    h, content = handle(d.uri()), image.read_bytes()
    assert h.pread(4096, 0) == content[:4096]
    other = make_image(image.parent / "new", SIZE, seed=5)
    os.utime(other, (1_600_000_000, 1_600_000_000))
    other.rename(image)
    time.sleep(1.1)  # what was said of the file is asked for again
    for at in (1_000_000, 2_000_000):
        try:
            assert h.pread(4096, at) == content[at : at + 4096]
        except nbd.Error as error:
            assert error.errno == "EIO"
    server.stop()
    server.start()
    assert fails_with_eio(h, 4096, 3_000_000)
    assert "changed" in d.slot()["error"]


def test_an_image_written_to_in_place_is_found_out(daemon, sshd, image):
    server = sshd()
    d = daemon(*server.options(), "http.readahead=no", "http.io-timeout=2s")
    d.ok(f"insert 0 {url_of(server, image)}")
    h = handle(d.uri())
    assert len(h.pread(4096, 0)) == 4096
    time.sleep(1.1)  # what was said of the file is asked for again
    with open(image, "r+b") as f:
        f.seek(3_000_000)
        f.write(b"other bytes")
    os.utime(image, (time.time() + 5, time.time() + 5))
    assert fails_with_eio(h, 4096, 2_990_000)
    assert "changed" in d.slot()["error"]
