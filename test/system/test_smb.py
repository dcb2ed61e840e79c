"""Images on SMB shares: a real Samba, read through NBD; what it refuses; and what happens when it suffers."""
import os
import pathlib
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse

import nbd
import pytest

from conftest import has_protocol, make_image, sha, wait_for
from doors import elsewhere  # noqa: F401 (a fixture)
from relay import Relay
from samba import PASSWORD, USER, Samba, missing
from test_nbd import handle


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    path = tmp_path_factory.mktemp("files")
    for parent in (path, *path.parents):
        if str(parent).startswith("/tmp/") and parent.stat().st_uid == os.getuid():
            parent.chmod(0o755)
    make_image(path / "image.iso", 9_000_000 + 77)
    (path / "a folder").mkdir()
    make_image(path / "a folder" / "Büro #1 100%.iso", 300_001, seed=3)
    (path / "empty.iso").touch()
    return path


@pytest.fixture(scope="module")
def samba(files):
    reason = missing() or (None if has_protocol("smb") else "built without libsmb2")
    if reason:
        pytest.skip(reason)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="np-smb-", dir="/tmp"))
    folder.chmod(0o755)
    server = Samba(folder, files)
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def relay(samba):
    one = Relay(samba.port)
    yield one
    one.stop()


def quote(path):
    return urllib.parse.quote(path)


def insert(url, user=USER, password=PASSWORD, slot=0):
    words = [f"insert {slot} {url}"]
    if user:
        words += [f'user="{user}"'.replace("\\", "\\\\"), f'password="{password}"']
    return " ".join(words)


def copies(d, image, folder):
    subprocess.run(["nbdcopy", d.uri(), folder / "copy"], check=True, timeout=120)
    return sha(folder / "copy") == sha(image)


# --- reading ---


@pytest.mark.smoke
def test_an_image_is_read_signed(daemon, samba, files, folder):
    d = daemon()
    d.ok(insert(samba.url()))
    assert copies(d, files / "image.iso", folder)
    assert d.slot()["error"] is None and d.slot()["size"] == 9_000_077


def test_an_image_is_read_encrypted(daemon, samba, files, folder):
    d = daemon("http.smb-encryption=required")
    d.ok(insert(samba.url()))
    assert copies(d, files / "image.iso", folder)


@pytest.mark.parametrize("encryption", ["auto", "required"])
def test_a_share_that_demands_encryption_gets_it(daemon, samba, files, folder, encryption):
    d = daemon(f"http.smb-encryption={encryption}")
    d.ok(insert(samba.url(share="sealed")))
    assert copies(d, files / "image.iso", folder)


def test_nothing_of_a_required_encryption_is_in_clear(daemon, samba, relay, files):
    d = daemon("http.smb-encryption=required", "http.readahead=no")
    seen = []
    relay.mangle = lambda data, to_server: seen.append(data) or data
    d.ok(insert(samba.url(port=relay.port)))
    data = handle(d.uri()).pread(65536, 1 << 20)
    image = (files / "image.iso").read_bytes()
    assert data == image[1 << 20:(1 << 20) + 65536]
    wire = b"".join(seen)
    assert image[(1 << 20) + 4096:(1 << 20) + 4160] not in wire and "image.iso".encode("utf-16-le") not in wire


def test_a_guest_reads_what_is_open_to_guests(daemon, samba, files, folder):
    d = daemon()
    d.ok(insert(samba.url(share="open"), user=None))
    assert copies(d, files / "image.iso", folder)
    d.ok("eject 0")
    assert "user and password" in d.error(insert(samba.url(share="user"), user=None))


@pytest.mark.parametrize("user", [USER, f"TESTGROUP\\{USER}", f"TESTSERVER/{USER}", f"{USER}@TESTGROUP"])
def test_a_user_may_be_written_with_a_domain(daemon, samba, user):
    d = daemon()
    d.ok(insert(samba.url(), user=user))
    assert len(handle(d.uri()).pread(512, 0)) == 512


def test_user_and_password_may_come_from_the_configuration(daemon, samba):
    d = daemon(f"credentials.nas.origin=smb://127.0.0.1:{samba.port}/user", f"credentials.nas.user={USER}", f"credentials.nas.password={PASSWORD}")
    d.ok(f"insert 0 {samba.url(share='user')}")
    assert PASSWORD not in d.log()
    e = daemon(f"credentials.nas.origin=smb://127.0.0.1:{samba.port}/use", f"credentials.nas.user={USER}", f"credentials.nas.password={PASSWORD}",
               f"http.user={USER}", f"http.password={PASSWORD}")
    assert "user and password" in e.error(insert(samba.url(share="user"), user=None))


def test_names_with_blanks_and_other_letters(daemon, samba, files, folder):
    d = daemon()
    d.ok(insert(samba.url(quote("a folder/Büro #1 100%.iso"))))
    assert copies(d, files / "a folder" / "Büro #1 100%.iso", folder)


def test_a_share_is_read_over_ipv6(daemon, samba, files, folder):
    place = pathlib.Path(tempfile.mkdtemp(prefix="np-smb-", dir="/tmp"))
    place.chmod(0o755)
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6")
    server = Samba(place, files, "interfaces = 127.0.0.1/8 ::1/128")
    try:
        text = (place / "smb.conf").read_text().replace("interfaces = 127.0.0.1/8\n", "")
        server.stop()
        (place / "smb.conf").write_text(text)
        server.start()
        d = daemon()
        d.ok(insert(f"smb://[::1]:{server.port}/user/image.iso"))
        assert copies(d, files / "image.iso", folder)
    finally:
        server.stop()
        shutil.rmtree(place)


@pytest.mark.parametrize("protocol", ["SMB2_02", "SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11"])
def test_each_version_of_the_protocol(daemon, files, folder, samba, protocol):
    place = pathlib.Path(tempfile.mkdtemp(prefix="np-smb-", dir="/tmp"))
    place.chmod(0o755)
    server = Samba(place, files, f"server max protocol = {protocol}")
    try:
        d = daemon()
        d.ok(insert(server.url()))
        assert copies(d, files / "image.iso", folder)
        d.ok("eject 0")
        e = daemon("http.smb-encryption=required")
        if protocol < "SMB3":
            e.error(insert(server.url()))
        else:
            e.ok(insert(server.url()))
    finally:
        server.stop()
        shutil.rmtree(place)


@pytest.mark.parametrize("setting", ["server min protocol = SMB3_11", "server min protocol = SMB3_00", "server smb encrypt = required"])
def test_a_server_that_wants_smb3_gets_it(daemon, files, folder, samba, setting):
    place = pathlib.Path(tempfile.mkdtemp(prefix="np-smb-", dir="/tmp"))
    place.chmod(0o755)
    server = Samba(place, files, setting)
    try:
        d = daemon()
        d.ok(insert(server.url()))
        assert copies(d, files / "image.iso", folder)
        assert "password is wrong" in d.error(insert(server.url(), password="not-this-one", slot=1))
    finally:
        server.stop()
        shutil.rmtree(place)


# --- refusals, each with its words ---


@pytest.mark.parametrize("path,share,user,password,words", [
    ("image.iso", "user", USER, "not-this-one", "user, domain or password is wrong"),
    ("image.iso", "user", "nobody-of-that-name", "not-this-one", "takes us for a guest"),
    ("image.iso", "limited", USER, PASSWORD, "denies access"),
    ("image.iso", "no-such-share", USER, PASSWORD, "no such share"),
    ("nothing.iso", "user", USER, PASSWORD, "no such file"),
    ("no/folder.iso", "user", USER, PASSWORD, "no such folder"),
    ("a%20folder", "user", USER, PASSWORD, "a folder, not an image"),
    ("empty.iso", "user", USER, PASSWORD, "the image is empty"),
])
def test_each_refusal_has_its_words(daemon, samba, path, share, user, password, words):
    d = daemon()
    error = d.error(insert(samba.url(path, share), user, password))
    assert words in error, error
    assert d.slot()["state"] == "empty" and password not in d.log()


@pytest.mark.parametrize("url,words", [
    ("smb://host", "smb://SERVER/SHARE/PATH"),
    ("smb://host/share", "smb://SERVER/SHARE/PATH"),
    ("smb://user:secret@host/share/x.iso", "user= and password="),
    ("smb://host:0/share/x.iso", "host or port"),
    ("smb://host/share/../x.iso", "\"..\""),
    ("smb://host/share/x.iso?a=b", "no query"),
    ("smb://host/share/a%00b", "UTF-8"),
    ("smb://host/share/a%5cb", "UTF-8"),
])
def test_a_url_that_can_be_none_is_refused(daemon, samba, url, words):
    error = daemon().error(f'insert 0 "{url}"')
    assert words in error, error
    assert "secret" not in error


def test_allow_local_holds(daemon, samba):
    d = daemon("http.allow-local=no")
    assert "allow-local" in d.error(insert(samba.url()))
    assert "allow-local" in d.error(insert(samba.url().replace("127.0.0.1", "localhost")))


def test_a_server_that_is_not_there(daemon, samba):
    d = daemon()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        assert "refused" in d.error(insert(f"smb://127.0.0.1:{s.getsockname()[1]}/share/x.iso"))
    assert "check the host's name" in d.error(insert("smb://no-such-host.invalid/share/x.iso"))


def test_a_server_that_says_nothing_is_given_up(daemon, samba):
    d = daemon("http.connect-timeout=1s", "http.io-timeout=3s")
    with socket.create_server(("127.0.0.1", 0)) as s:
        began = time.monotonic()
        assert "connect-timeout" in d.error(insert(f"smb://127.0.0.1:{s.getsockname()[1]}/share/x.iso"))
        assert time.monotonic() - began < 8


def test_a_server_of_smb1_only_says_so(daemon, files, samba):
    place = pathlib.Path(tempfile.mkdtemp(prefix="np-smb-", dir="/tmp"))
    place.chmod(0o755)
    server = Samba(place, files, "server max protocol = NT1", "server min protocol = NT1")
    try:
        assert "SMB2 or SMB3" in daemon("http.io-timeout=2s").error(insert(server.url()))
    finally:
        server.stop()
        shutil.rmtree(place)


# --- trouble ---


def test_a_server_that_is_restarted_under_reads(daemon, samba, files, folder):
    d = daemon("http.io-timeout=25s")
    d.ok(insert(samba.url()))
    relay_free = threading.Timer(0.3, lambda: (samba.stop(), time.sleep(1), samba.start()))
    relay_free.start()
    h = handle(d.uri())
    image = (files / "image.iso").read_bytes()
    chance = random.Random(4)
    for _ in range(300):
        offset = chance.randrange(len(image) - 65536)
        assert h.pread(65536, offset) == image[offset:offset + 65536]
        time.sleep(0.01)  # the reads last longer than the server is away
    relay_free.join()
    d.ok("eject 0")


@pytest.mark.parametrize("how", ["cut", "hold"])
def test_a_connection_that_breaks_or_stalls_is_replaced(daemon, samba, relay, files, how):
    d = daemon("http.stall-timeout=1s", "http.io-timeout=20s", "http.readahead=no")
    d.ok(insert(samba.url(port=relay.port)))
    h = handle(d.uri())
    image = (files / "image.iso").read_bytes()
    assert h.pread(4096, 0) == image[:4096]
    if how == "cut":
        relay.cut()
    else:
        relay.holding = True
        threading.Timer(2, setattr, (relay, "holding", False)).start()
    began = time.monotonic()
    assert h.pread(65536, 5_000_000) == image[5_000_000:5_065_536]
    assert time.monotonic() - began < 15
    wait_for(lambda: relay.connections >= 2, "another connection")


def test_a_server_gone_for_longer_gives_eio_and_comes_back(daemon, samba, relay, files):
    d = daemon("http.stall-timeout=1s", "http.io-timeout=2s", "http.readahead=no", "http.connect-timeout=1s")
    d.ok(insert(samba.url(port=relay.port)))
    h = handle(d.uri())
    relay.holding = True
    began = time.monotonic()
    with pytest.raises(nbd.Error) as caught:
        h.pread(4096, 3_000_000)
    assert caught.value.errno == "EIO" and time.monotonic() - began < 6
    relay.holding = False
    image = (files / "image.iso").read_bytes()

    def reads():
        try:
            return h.pread(4096, 3_000_000) == image[3_000_000:3_004_096]
        except nbd.Error:
            return False

    wait_for(reads, "the server")


def test_an_eject_does_not_wait_for_a_server_that_hangs(daemon, samba, relay):
    d = daemon("http.readahead=no")
    d.ok(insert(samba.url(port=relay.port)))
    h = handle(d.uri())
    relay.holding = True
    cookie = h.aio_pread(nbd.Buffer(65536), 4_000_000)
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        h.poll(50)
    began = time.monotonic()
    d.ok("eject 0")
    assert time.monotonic() - began < 2 and cookie
    assert d.slot()["state"] == "empty"


def test_an_insert_under_way_is_given_up(daemon, samba, relay):
    d = daemon()
    relay.holding = True
    s = d.connect()
    s.sendall((insert(samba.url(port=relay.port)) + "\n").encode())
    wait_for(lambda: d.slot()["state"] == "opening", "the insert")
    began = time.monotonic()
    d.ok("eject 0")
    assert time.monotonic() - began < 2
    s.close()


@pytest.mark.parametrize("how", ["write", "same size", "replace", "truncate"])
def test_a_change_on_the_server_is_noticed(daemon, samba, relay, files, how):
    image = make_image(files / f"changing {how}.iso", 4_000_000, seed=5)
    before = image.read_bytes()
    d = daemon("http.readahead=no", "http.io-timeout=3s")
    d.ok(insert(samba.url(quote(image.name), port=relay.port)))
    h = handle(d.uri())
    assert h.pread(4096, 1_000_000) == before[1_000_000:1_004_096]
    time.sleep(0.05)  # a file's times are those of the kernel's clock tick
    if how == "write":
        with open(image, "ab") as f:
            f.write(b"more")
    elif how == "same size":
        with open(image, "r+b") as f:
            f.write(bytes(4_000_000))
        relay.cut()  # Samba tells the times of before while a file is open
    elif how == "truncate":
        os.truncate(image, 3_999_999)
    else:
        make_image(files / "new", 4_000_000, seed=6).rename(image)
        relay.cut()
    with pytest.raises(nbd.Error) as caught:
        h.pread(4096, 2_000_000)
    assert caught.value.errno == "EIO"
    assert "changed" in d.slot()["error"] or "ends" in d.slot()["error"]
    with pytest.raises(nbd.Error):
        h.pread(4096, 3_000_000)


def test_an_image_that_is_in_is_not_written_to_through_the_share(daemon, samba, files):
    """And one that is being written to is not inserted."""
    if not shutil.which("smbclient"):
        pytest.skip("there is no smbclient")
    make_image(files / "locked.iso", 100_000, seed=7)
    d = daemon()
    d.ok(insert(samba.url("locked.iso")))
    out = subprocess.run(["smbclient", "-s", samba.folder / "smb.conf", "-p", str(samba.port), "-U", f"{USER}%{PASSWORD}",
                          "//127.0.0.1/user", "-c", "put /etc/hostname locked.iso"], capture_output=True, text=True, timeout=30)
    assert "SHARING_VIOLATION" in out.stdout + out.stderr or "ACCESS_DENIED" in out.stdout + out.stderr, out


# --- what is not signed, or not right ---


def flip(at, seen):
    """Changes a byte in the data of the first answer that is longer than 4 KiB."""

    def mangle(data, to_server):
        if to_server or len(data) < 4096 or seen:
            return data
        seen.append(1)
        changed = bytearray(data)
        changed[at] ^= 1
        return bytes(changed)

    return mangle


@pytest.mark.parametrize("encryption", ["auto", "required"])
def test_a_byte_that_changes_on_the_way_never_reaches_the_host(daemon, samba, relay, files, encryption):
    d = daemon("http.readahead=no", f"http.smb-encryption={encryption}")
    d.ok(insert(samba.url(port=relay.port)))
    h = handle(d.uri())
    seen = []
    relay.mangle = flip(2000, seen)
    image = (files / "image.iso").read_bytes()
    assert h.pread(65536, 6_000_000) == image[6_000_000:6_065_536]
    assert seen and relay.connections >= 2


def test_an_unsigned_answer_is_refused(daemon, samba, relay):
    """One on the way takes the signature off, with the flag that there is one."""
    d = daemon("http.readahead=no", "http.io-timeout=2s")
    d.ok(insert(samba.url(port=relay.port)))
    h = handle(d.uri())

    def strip(data, to_server):
        if to_server or data[4:8] != b"\xfeSMB":
            return data
        changed = bytearray(data)
        changed[4 + 16] &= ~8
        changed[4 + 48:4 + 64] = bytes(16)
        return bytes(changed)

    relay.mangle = strip
    with pytest.raises(nbd.Error) as caught:
        h.pread(4096, 6_000_000)
    assert caught.value.errno == "EIO"
    assert "sign" in d.slot()["error"], d.slot()["error"]


@pytest.mark.parametrize("encryption", ["auto", "required"])
def test_noise_on_the_way_gives_right_data_or_an_error(daemon, samba, relay, files, folder, encryption):
    # libsmb2 6.2 forgets what it made of an answer about the file when it finds the signature wrong.
    (folder / "leaks").write_text("leak:smb2_alloc_init\n")
    d = daemon("http.readahead=no", "http.io-timeout=1s", "http.connect-timeout=2s", "http.stall-timeout=1s",
               f"http.smb-encryption={encryption}",
               environment={"LSAN_OPTIONS": f"suppressions={folder}/leaks:print_suppressions=0"})
    image = (files / "image.iso").read_bytes()
    chance = random.Random(7)

    def noise(data, to_server):
        if to_server or chance.random() > 0.2:
            return data
        changed = bytearray(data)
        if chance.random() < 0.2:
            return bytes(changed[:chance.randrange(len(changed) + 1)]) or data[:1]
        for _ in range(chance.randrange(1, 4)):
            changed[chance.randrange(min(len(changed), 200))] ^= 1 << chance.randrange(8)
        return bytes(changed)

    relay.mangle = noise
    read = 0
    for number in range(12):
        if d.ask(insert(samba.url(port=relay.port)))[-1].startswith("error"):
            continue
        h = handle(d.uri())
        for offset in (number * 65536, 2_000_000 + number * 65536):
            try:
                assert h.pread(4096, offset) == image[offset:offset + 4096]
                read += 1
            except nbd.Error as error:
                assert error.errno == "EIO"
        h.shutdown()
        d.ok("eject 0")
    relay.mangle = None
    d.ok(insert(samba.url(port=relay.port)))
    assert handle(d.uri()).pread(4096, 0) == image[:4096]


@pytest.mark.parametrize("name", ["dead4.test", "dead6.test"])
def test_a_dead_address_does_not_keep_from_the_other(daemon, samba, elsewhere, name):
    d = daemon(environment=elsewhere)
    began = time.monotonic()
    d.ok(insert(samba.url().replace("127.0.0.1", name)))
    assert time.monotonic() - began < 4
    assert len(handle(d.uri()).pread(4096, 4096)) == 4096
