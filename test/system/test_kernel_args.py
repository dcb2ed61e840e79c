"""Kernels that are given arguments: what others make of the changed image, and what stays as it was."""
import concurrent.futures
import re
import socket
import subprocess

import pytest

from bootable import ENTRY, GRUB, ISOLINUX, KINDS, TXT, Disc, efi_image, grown, run, write
from conftest import wait_for

MARK = "mark=4711"
ARGUMENTS = f"console=ttyS0,115200 {MARK}"
@pytest.fixture
def disc(tmp_path):
    return Disc(tmp_path)


@pytest.fixture
def slots(daemon):
    """A function that starts a daemon with two slots that are not the kernel's matter."""
    def start(*arguments, config="[slot cd]\nattach = socket\n[slot other]\nattach = socket\n", **more):
        return daemon(*arguments, config=config, **more)
    return start


def content(d, place, slot="cd"):
    path = place / f"{slot}.out"
    path.unlink(missing_ok=True)
    run("nbdcopy", d.uri(slot), path)
    return path


def files(image, tree):
    """{path: SHA-256} of all files of one of the image's trees, as isoinfo reads them."""
    out = run("isoinfo", *tree, "-f", "-i", image).decode(errors="replace").splitlines()
    found = {}
    for path in out:
        data = subprocess.run(["isoinfo", *tree, "-i", image, "-x", path], capture_output=True, check=False).stdout
        if data:
            found[path.split(";")[0]] = data
    return found


def from_efi(image_bytes, place, name):
    path = place / "efi.out"
    path.write_bytes(image_bytes)
    return run("mcopy", "-n", "-i", path, f"::/{name}", "-").decode()


TREES = {"rock ridge": ["-R"], "joliet": ["-J"]}
CHANGED = {"/boot/grub/grub.cfg", "/isolinux/txt.cfg", "/boot/efi.img"}


def check_trees(before, after, place, grub=GRUB, efi=GRUB):
    """Both trees have the arguments, and every other file is the same."""
    for tree in TREES.values():
        was, now = files(before, tree), files(after, tree)
        assert was.keys() == now.keys()
        assert {p for p in was if was[p] != now[p]} == CHANGED
        assert now["/boot/grub/grub.cfg"].decode() == grub.replace(" quiet ---", f" quiet --- {ARGUMENTS}")
        assert now["/isolinux/txt.cfg"].decode() == TXT.replace("--- quiet", f"--- quiet {ARGUMENTS}")
        image = now["/boot/efi.img"]
        assert from_efi(image, place, "EFI/BOOT/grub.cfg") == efi.replace(" quiet ---", f" quiet --- {ARGUMENTS}")
        assert from_efi(image, place, "loader/entries/a-long-name.conf") == ENTRY.replace("LABEL=x", f"LABEL=x {ARGUMENTS}")


def check_accepted(image):
    """xorriso reads it all, and says no more than of the original."""
    told = subprocess.run(["xorriso", "-abort_on", "WARNING", "-indev", image, "-check_media", "--"], capture_output=True,
                          text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert "Media region" in told.stdout and not re.search(r"unreadable|invalid", told.stdout + told.stderr)


def test_names_of_an_image_are_shown_without_their_control_characters(slots, tmp_path):
    for name in ("e\x1b]0;x\x07\nok: x\n.conf", "signed\x1b[31m\n.conf"):
        write(tmp_path / "disc/loader/entries" / name, ENTRY)
    write(tmp_path / "disc/loader/entries/signed\x1b[31m\n.conf.sig", "x")
    run("xorriso", "-as", "mkisofs", "-quiet", "-o", tmp_path / "x.iso", "-R", tmp_path / "disc")
    d = slots()
    told = [d.ok(f"insert cd {tmp_path}/x.iso kernel-args={MARK} dry-run"), d.ok(f"insert cd {tmp_path}/x.iso kernel-args={MARK}"),
            d.ok("status")]
    assert not re.search(r"[\0-\x08\x0b-\x1f]", "".join(line for answer in told for line in answer))
    assert [answer[-1].split(",")[0] for answer in told] == ["ok: cd: nothing was inserted: a dry run", "ok: cd: inserted x.iso", "ok"]
    assert all(any("warning: " in line and r"signed\x1b[31m\x0a.conf is signed" in line for line in answer) for answer in told)
    assert any(r"\x1b]0;x\x07\x0aok: x\x0a.conf" in line for line in told[0])


# --- what the host reads ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_fits_its_block_is_changed_in_place(slots, tmp_path, kind):
    disc = Disc(tmp_path, kind=kind)
    d = slots()
    answer = d.ok(f'insert cd {disc.image} kernel-args="{ARGUMENTS}"')
    out = content(d, tmp_path)
    assert out.stat().st_size == disc.image.stat().st_size
    check_trees(disc.image, out, tmp_path)
    check_accepted(out)
    assert answer[-1].startswith("ok: cd: inserted disc.iso")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_has_grown_lies_behind_the_end(slots, tmp_path, kind):
    grub = grown(GRUB)
    disc = Disc(tmp_path, grub=grub, efi=grown(GRUB, 512), kind=kind)
    d = slots()
    d.ok(f'insert cd {disc.image} kernel-args="{ARGUMENTS}"')
    out = content(d, tmp_path)
    assert disc.image.stat().st_size < out.stat().st_size < disc.image.stat().st_size + (400 << 10)
    assert d.slot()["size"] == out.stat().st_size
    check_trees(disc.image, out, tmp_path, grub, grown(GRUB, 512))
    check_accepted(out)
    volume = int(re.search(r"Volume size is: (\d+)", run("isoinfo", "-d", "-i", out).decode())[1])
    assert volume * 2048 == out.stat().st_size


@pytest.mark.parametrize("kind", ("live-build", "ubuntu"))
def test_the_volume_is_changed_in_the_partition_too(slots, tmp_path, kind):
    """A stick's first partition is the volume once more, with directories of its own, which Linux mounts and GRUB may find."""
    disc = Disc(tmp_path, grub=grown(GRUB), kind=kind)
    d = slots()
    d.ok(f'insert cd {disc.image} kernel-args="{ARGUMENTS}"')
    out = content(d, tmp_path)
    start = int(run("sfdisk", "--json", out).decode().split('"start":')[1].split(",")[0]) * 512
    assert start == 16 * 2048
    parts = []
    for image in (disc.image, out):
        parts.append(tmp_path / f"{image.name}.part")
        parts[-1].write_bytes(image.read_bytes()[start:])
    check_trees(*parts, tmp_path, grown(GRUB))


def test_the_fat_image_stays_sound(slots, tmp_path):
    disc = Disc(tmp_path, efi=grown(GRUB, 512))
    d = slots()
    d.ok(f'insert cd {disc.image} kernel-args="{ARGUMENTS}"')
    image = files(content(d, tmp_path), TREES["rock ridge"])["/boot/efi.img"]
    (tmp_path / "fat").write_bytes(image)
    assert subprocess.run(["fsck.vfat", "-n", tmp_path / "fat"], check=False).returncode == 0


def verified(image):
    """What sfdisk says of the partition table, without the image's name."""
    told = subprocess.run(["sfdisk", "--verify", image], capture_output=True, text=True, check=False)
    return told.returncode, (told.stdout + told.stderr).replace(str(image), "X")


@pytest.mark.parametrize("kind", ("isohybrid", "gpt"))
def test_partition_tables_stay_valid(slots, tmp_path, kind):
    disc = Disc(tmp_path, grub=grown(GRUB), kind=kind)
    d = slots()
    d.ok(f'insert cd {disc.image} kernel-args="{ARGUMENTS}"')
    out = content(d, tmp_path)
    assert out.stat().st_size > disc.image.stat().st_size
    assert verified(out) == verified(disc.image)


def test_the_second_header_of_a_gpt_stands_in_for_the_first(slots, tmp_path):
    disc = Disc(tmp_path, grub=grown(GRUB))
    d = slots()
    d.ok(f'insert cd {disc.image} kernel-args="{ARGUMENTS}"')
    out = content(d, tmp_path)
    with open(out, "r+b") as f:
        f.seek(512)
        f.write(bytes(512))

    def listed(image):
        return [line.split()[1:] for line in run("sfdisk", "--list", image).decode().splitlines() if "EFI System" in line]

    assert listed(out) == listed(disc.image) != []


def test_a_raw_disk_with_an_efi_partition(slots, tmp_path):
    efi_image(tmp_path / "fat", GRUB)
    disk = tmp_path / "disk.img"
    with open(disk, "wb") as f:
        f.truncate(4 << 20)
    run("sfdisk", "-q", disk, input=b"label: gpt\nstart=2048, size=2048, type=U\n")
    data = bytearray(disk.read_bytes())
    data[1 << 20:2 << 20] = (tmp_path / "fat").read_bytes()
    disk.write_bytes(data)
    d = slots()
    d.ok(f'insert cd {disk} kernel-args="{ARGUMENTS}"')
    now = content(d, tmp_path).read_bytes()
    assert len(now) == len(data)
    assert from_efi(now[1 << 20:2 << 20], tmp_path, "EFI/BOOT/grub.cfg") == GRUB.replace("---", f"--- {ARGUMENTS}")
    assert b"No errors" in run("sfdisk", "--verify", tmp_path / "cd.out")


def test_padding_gives_way_before_a_file_moves(slots, tmp_path):
    padded = GRUB + "# padding\n" * ((2048 - len(GRUB)) // 10)
    disc = Disc(tmp_path, grub=padded)
    d = slots()
    d.ok(f'insert cd {disc.image} kernel-args="{ARGUMENTS}"')
    out = content(d, tmp_path)
    assert out.stat().st_size == disc.image.stat().st_size
    now = files(out, TREES["rock ridge"])["/boot/grub/grub.cfg"].decode()
    assert f"quiet --- {ARGUMENTS}\n" in now and "# padding" in now and len(now) <= 2048


def test_the_image_itself_is_never_written(slots, disc, tmp_path):
    before = disc.image.read_bytes()
    d = slots("slot.cd.media=disk", "slot.cd.overlay=memory", "slot.other.writable=yes")
    d.ok(f"insert cd {disc.image} kernel-args={MARK}")
    d.ok(f"insert other {disc.image} kernel-args={MARK}")
    assert d.slot(0)["writable"] and not d.slot(1)["writable"]
    run("qemu-io", "-f", "raw", "-c", "write -P 7 32k 64k", d.uri("cd"))
    assert content(d, tmp_path).read_bytes()[32 << 10:96 << 10] == b"\7" * (64 << 10)
    assert disc.image.read_bytes() == before


# --- what it says ---


def test_a_dry_run_shows_what_would_be_changed(slots, disc):
    d = slots()
    lines = d.ok(f'insert cd {disc.image} kernel-args="{ARGUMENTS}" dry-run')
    assert "--- /boot/grub/grub.cfg (ISO 9660)" in lines
    assert "-\tlinux /boot/vmlinuz quiet ---" in lines
    assert f"+\tlinux /boot/vmlinuz quiet --- {ARGUMENTS}" in lines
    assert f"+options root=LABEL=x {ARGUMENTS}" in lines
    assert "4 kernels, 0 timeouts, 0 defaults and 0 changes by name in 4 files" in lines
    assert lines[-1] == "ok: cd: nothing was inserted: a dry run"
    assert d.slot()["state"] == "empty"


def test_menus_boot_by_themselves(slots, disc, tmp_path):
    d = slots()
    lines = d.ok(f"insert cd {disc.image} menu-timeout=3 dry-run")
    assert "0 kernels, 3 timeouts, 0 defaults and 0 changes by name in 3 files" in lines
    d.ok(f"insert cd {disc.image} kernel-args={MARK} menu-timeout=3")
    out = content(d, tmp_path)
    now = files(out, TREES["joliet"])
    assert now["/isolinux/isolinux.cfg"].decode() == "timeout 30\n" + ISOLINUX
    assert now["/boot/grub/grub.cfg"].decode() == GRUB.replace("timeout=1", "timeout=3").replace("---", f"--- {MARK}")
    check_accepted(out)
    d.ok("eject cd")
    assert "3600" in d.error(f"insert cd {disc.image} menu-timeout=5s")


def test_menus_boot_what_they_are_told(slots, tmp_path):
    """The same name fits GRUB's title, on the medium and in its EFI image, and the label of isolinux."""
    disc = Disc(tmp_path, grub=GRUB + "menuentry 'Rescue' --id r { linux /r }\n")
    d = slots()
    lines = d.ok(f"insert cd {disc.image} menu-default=INSTALL dry-run")
    assert "+set default='Install'" in lines and "+ontimeout install" in lines and "+\tmenu default" in lines
    assert "0 kernels, 0 timeouts, 4 defaults and 0 changes by name in 4 files" in lines
    error = d.error(f"insert cd {disc.image} menu-default=memtest kernel-args={MARK}")
    assert error.endswith('has an entry "memtest" (there are: "Install", "Rescue", "install", "x")')
    assert "no menu was given a default: none" in d.error(f"insert cd {disc.image} menu-default=x") # there is no loader.conf
    d.ok(f"insert cd {disc.image} kernel-args={MARK} menu-default=r menu-timeout=0")
    now = files(content(d, tmp_path), TREES["rock ridge"])
    assert now["/boot/grub/grub.cfg"].decode().startswith("set default='r'\n")
    assert now["/isolinux/txt.cfg"].decode() == TXT.replace("--- quiet", f"--- quiet {MARK}") # has none of that name


def test_a_dry_run_leaves_the_medium_alone(slots, disc, www):
    d = slots()
    d.ok(f"insert cd {www / 'image.iso'}")
    d.ok(f"insert cd {disc.image} kernel-args={MARK} dry-run")
    assert d.slot()["image_name"] == "image.iso"


def test_a_dry_run_goes_with_its_slot(slots):
    """Its server does not answer; there is one for a slot at a time."""
    with socket.create_server(("127.0.0.1", 0)) as silent, concurrent.futures.ThreadPoolExecutor() as pool:
        d = slots()
        command = f"insert other http://127.0.0.1:{silent.getsockname()[1]}/x.iso kernel-args=a dry-run"
        waits = pool.submit(d.ask, command)
        silent.accept()
        assert "another dry run" in d.error(command)
        d.config.write_text("[slot cd]\nattach = socket\n")
        d.ok("reload")
        assert waits.result(30) == ["error: other: the dry run was given up: the slot changes"]


def test_a_dry_run_of_nothing(slots, disc):
    assert "give kernel-args" in slots().error(f"insert cd {disc.image} dry-run")


def test_nothing_to_change_is_an_error_that_says_what_was_looked_for(slots, www, tmp_path):
    d = slots()
    assert "looked for: grub.cfg" in d.error(f"insert cd {www / 'image.iso'} kernel-args=a")
    write(tmp_path / "disc/boot/grub/grub.cfg", "set timeout=1\n")
    run("xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", tmp_path / "none.iso", tmp_path / "disc")
    assert "(/boot/grub/grub.cfg) starts one" in d.error(f"insert cd {tmp_path / 'none.iso'} kernel-args=a")
    assert d.slot()["state"] == "empty"


def test_a_signed_configuration_stays(slots, tmp_path):
    write(tmp_path / "disc/boot/grub/grub.cfg", GRUB)
    write(tmp_path / "disc/boot/grub/grub.cfg.sig", "signature")
    run("xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", tmp_path / "signed.iso", tmp_path / "disc")
    assert "grub.cfg is signed" in slots().error(f"insert cd {tmp_path / 'signed.iso'} kernel-args=a")


def test_checksums_on_the_medium_are_reported(slots, disc):
    d = slots()
    lines = d.ok(f"insert cd {disc.image} kernel-args={MARK}")
    assert any(line.startswith("warning: cd: md5sum.txt") for line in lines)
    assert "md5sum.txt" in d.slot()["warning"]


@pytest.mark.parametrize("arguments, why", (('kernel-args=""', "empty"), ("kernel-args=" + "a" * 2001, "too long"),
                                            (r'kernel-args="a=\"b"', "quote"), ("kernel-args=a writable=yes", "overlay")))
def test_what_can_not_be_done_is_refused(slots, disc, arguments, why):
    d = slots()
    assert why in d.error(f"insert cd {disc.image} {arguments}")
    assert why in d.error(f"insert cd {disc.image} {arguments} dry-run")


# --- with the rest of the daemon ---


def test_slots_share_the_image(slots, disc, nginx, www):
    """Two slots with other arguments on one URL: what one has read, the other does not fetch."""
    (www / "disc.iso").write_bytes(disc.image.read_bytes())
    d = slots(f"http.ca-file={nginx.tls}/ca.pem")
    url = nginx.url("disc.iso")
    d.ok(f"insert cd {url} kernel-args=one=1")
    first = content(d, disc.place, "cd").read_bytes()
    before = d.slot(1)["stats"]["bytes"]
    d.ok(f"insert other {url} kernel-args=two=2")
    second = content(d, disc.place, "other").read_bytes()
    assert b"one=1" in first and b"two=2" in second and b"one=1" not in second
    assert d.slot(1)["stats"]["bytes"] - before < len(first) // 20


def test_sixteen_machines_are_one_image_in_the_cache(slots, disc, nginx, www):
    (www / "disc.iso").write_bytes(disc.image.read_bytes())
    config = "[daemon]\ncache-size = 256M\n" + "".join(f"[slot s{i}]\nattach = socket\n" for i in range(16))
    d = slots(f"http.ca-file={nginx.tls}/ca.pem", config=config)
    for i in range(16):
        d.ok(f"insert s{i} {nginx.url('disc.iso')} kernel-args=machine={i}.")
        assert f"machine={i}.".encode() in content(d, disc.place, f"s{i}").read_bytes()
    cache = d.status()["cache"]
    assert cache["images"] == 1 and cache["live"] <= (disc.image.stat().st_size + 65535) // 65536 * 65536


def test_a_restart_goes_on_with_them(slots, disc, tmp_path):
    d = slots()
    d.ok(f"insert cd {disc.image} kernel-args={MARK}")
    first = content(d, tmp_path).read_bytes()
    d.kill()
    again = type(d)(d.folder, config=d.config.read_text())
    try:
        wait_for(lambda: again.slot()["state"] == "ready", "the medium")
        assert content(again, tmp_path).read_bytes() == first and MARK.encode() in first
    finally:
        again.stop()


def test_other_arguments_replace_the_medium(slots, disc, tmp_path):
    d = slots()
    d.ok(f"insert cd {disc.image} kernel-args={MARK}")
    d.ok(f"insert cd {disc.image} kernel-args=other=1 replace")
    now = content(d, tmp_path).read_bytes()
    assert MARK.encode() not in now and b"other=1" in now
    assert "kernel_args" not in str(d.status())
