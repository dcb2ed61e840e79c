"""Files of an image that are other ones for the host: replaced as a whole, or with further lines."""
import json
import socket
import subprocess

import pytest

from bootable import GRUB, TXT, Disc, run, write
from conftest import wait_for
from redfish_client import INSERT, SLOT, admin, own, service, users # noqa: F401 (fixtures)
from test_config_medium import CANARY, word
from test_kernel_args import TREES, check_accepted, content, disc, files, from_efi, slots # noqa: F401 (fixtures)
from test_kernel_args_doors import image, oem, read # noqa: F401 (fixtures)
from website import new_site # noqa: F401 (fixtures)
from website import accounts # noqa: F401 (fixtures)

SEED = "d-i passwd/root-login boolean false\n"


@pytest.fixture
def seeded(tmp_path):
    """With an answer file, and programs."""
    seeded = Disc(tmp_path)
    write(seeded.folder / "preseed.cfg", SEED)
    write(seeded.folder / "EFI/BOOT/BOOTX64.EFI", "not a program, by its bytes")
    write(seeded.folder / "boot/program", b"MZ" + bytes(100))
    write(seeded.folder / "boot/large", bytes((256 << 10) + 1))
    (seeded.folder / "link").symlink_to("preseed.cfg")
    run("xorriso", "-as", "mkisofs", "-quiet", "-o", seeded.image, "-J", "-R", "-c", "isolinux/boot.cat", "-b", "isolinux/isolinux.bin",
        "-no-emul-boot", "-boot-load-size", "4", "-eltorito-alt-boot", "-e", "boot/efi.img", "-no-emul-boot", seeded.folder)
    return seeded


def given(changes):
    return word("image-files", changes)


ENTRY = "/loader/entries/a-long-name.conf"
CHANGES = {"/preseed.cfg": f"d-i netcfg/get_hostname string {{slot}}\n# {CANARY}\n" + "x" * 2100,
           "/isolinux/txt.cfg": [{"insert": "label more\n\tkernel /boot/vmlinuz", "before": "label inst"}, {"insert": "# end"}],
           "/EFI/BOOT/grub.cfg": "set timeout=2\n",
           ENTRY: "title y\n" + "#" * 1100,
           "/boot/grub/grub.cfg": {"insert": "set color=red", "after": "set timeout"},
           "/md5sum.txt": {"base64": "AAEC"}}


def test_files_are_replaced_and_have_further_lines(slots, seeded, tmp_path):
    d = slots()
    lines = d.ok(f"insert cd {seeded.image} {given(CHANGES)} kernel-args=mark=1")
    assert lines[0].startswith("ok") # the sums are replaced too: it says nothing of them
    out = content(d, tmp_path)
    check_accepted(out)
    for tree in TREES.values():
        was, now = files(seeded.image, tree), files(out, tree)
        assert {p for p in was if was[p] != now[p]} == set(CHANGES) - {"/EFI/BOOT/grub.cfg", ENTRY} | {"/boot/efi.img"}
        assert now["/preseed.cfg"].decode() == CHANGES["/preseed.cfg"].replace("{slot}", "cd")
        assert now["/md5sum.txt"] == b"\0\1\2"
        assert now["/boot/grub/grub.cfg"].decode() == GRUB.replace("timeout=1\n", "timeout=1\nset color=red\n").replace("---", "--- mark=1")
        assert now["/isolinux/txt.cfg"].decode() == \
            "label more\n\tkernel /boot/vmlinuz\n\tappend mark=1\n" + TXT.replace("--- quiet", "--- quiet mark=1") + "# end\n"
    fat = now["/boot/efi.img"]
    assert from_efi(fat, tmp_path, "EFI/BOOT/grub.cfg") == "set timeout=2\n"
    assert from_efi(fat, tmp_path, ENTRY[1:]) == CHANGES[ENTRY] # in three clusters, and not in one
    (tmp_path / "fat").write_bytes(fat)
    assert subprocess.run(["fsck.vfat", "-n", tmp_path / "fat"], check=False).returncode == 0 # what it was longer is free


def test_a_dry_run_shows_them(slots, seeded):
    d = slots()
    lines = d.ok(f"insert cd {seeded.image} {given(CHANGES)} dry-run")
    assert "+set color=red" in lines and "-" + SEED.rstrip() in lines and "+d-i netcfg/get_hostname string cd" in lines
    assert any(line.startswith("binary: ") and line.endswith(" bytes by 3") for line in lines)
    assert "0 kernels, 0 timeouts, 0 defaults and 7 changes by name in 6 files" in lines
    assert d.slot()["state"] == "empty"


def test_checksums_of_what_was_changed_are_told_of(slots, disc):
    lines = slots().ok(f"insert cd {disc.image} {given({'/pool/package number 2.deb': 'x'})}")
    assert lines[0].startswith("warning: cd: md5sum.txt")


@pytest.mark.parametrize("changes, why", (
    ({"/boot/nothing.cfg": "x"}, "no file /boot/nothing.cfg"), ({"/boot": "x"}, "no file /boot "),
    ({"/preseed.cfg": {"insert": "x", "after": "nowhere"}}, '/preseed.cfg has no line with "nowhere"'),
    ({"/EFI/BOOT/BOOTX64.EFI": "x"}, "BOOTX64.EFI is a program"), ({"/boot/program": {"insert": "x"}}, "/boot/program is a program"),
    ({"/isolinux/isolinux.bin": "x"}, "isolinux.bin is what the firmware boots"), ({"/boot/large": "x"}, "/boot/large is too large"),
    ({"/link": "x"}, "/link is empty or a link")))
def test_what_is_not_there_or_stays_as_it_is(slots, seeded, changes, why):
    d = slots()
    assert why in d.error(f"insert cd {seeded.image} {given(changes)}")
    assert why in d.error(f"insert cd {seeded.image} {given(changes)} dry-run")


@pytest.mark.parametrize("changes, why", (
    ({}, "no file"), ([], "an object"), ({"a": "x"}, "begins at the image's root"), ({"/../a": "x"}, "begins at"), ({"/a//b": "x"}, "begins at"),
    ({"/" + "a" * 160: "x"}, "160 bytes"), ({"/a": ""}, "is empty"), ({"/a": 1}, "neither a text"), ({"/a": {"base64": "!"}}, "base64"),
    ({"/a": {"insert": "x", "near": "y"}}, "after"), ({"/a": {"insert": "x", "after": ""}}, "is empty"),
    ({"/a": "{serial}"}, "{serial}"), ({f"/{i}": "x" for i in range(33)}, "32 changes"), ({"/a": "x" * 65537}, "64 KiB")))
def test_what_is_refused(slots, disc, tmp_path, changes, why):
    (tmp_path / "changes.json").write_text(json.dumps(changes))
    assert why in slots().error(f"insert cd {disc.image} image-files={tmp_path}/changes.json")


def test_a_configuration_with_a_signature_is_refused(slots, tmp_path):
    write(tmp_path / "disc/boot/grub/grub.cfg", GRUB)
    write(tmp_path / "disc/boot/grub/grub.cfg.sig", "signature")
    run("xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", tmp_path / "signed.iso", tmp_path / "disc")
    assert "grub.cfg is signed" in slots().error(f"insert cd {tmp_path}/signed.iso {given({'/boot/grub/grub.cfg': 'x'})}")


# --- where they come from ---


def test_from_a_file_and_a_server(slots, disc, nginx, www, tmp_path):
    changes = json.dumps({"/isolinux/txt.cfg": {"insert": "# of a file, for {mac}"}})
    for path in (tmp_path / "changes.json", www / "changes.json"):
        path.write_text(changes)
    d = slots(f"http.ca-file={nginx.tls}/ca.pem")
    for place in (f"{tmp_path}/changes.json", nginx.url("changes.json")):
        d.ok(f"insert cd {disc.image} image-files={place} mac=02:00:00:00:00:01")
        assert b"# of a file, for 02:00:00:00:00:01\n" in content(d, tmp_path).read_bytes()
        d.ok("eject cd")
    assert "404" in d.error(f"insert cd {disc.image} image-files={nginx.url('nothing.json')}")
    (tmp_path / "large").write_bytes(b"{" * ((256 << 10) + 1))
    assert "256 KiB" in d.error(f"insert cd {disc.image} image-files={tmp_path}/large")
    assert "No such file" in d.error(f"insert cd {disc.image} image-files={tmp_path}/nothing")


def test_an_insert_that_waits_for_them_is_given_up(slots, disc):
    """Their server does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        d = slots()
        with d.connect() as waiting:
            waiting.send(f"insert cd {disc.image} image-files=http://127.0.0.1:{silent.getsockname()[1]}/x.json\n".encode())
            silent.accept()
            d.ok("eject cd")
            assert b"given up" in waiting.recv(4096)
        d.ok(f"insert cd {disc.image}")


def test_only_files_where_images_may_be(slots, disc, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/disc.iso").write_bytes(disc.image.read_bytes())
    (tmp_path / "secret.json").write_text('{"/isolinux/txt.cfg": "x"}')
    d = slots(f"daemon.file-directory={tmp_path}/in")
    assert "file-directory" in d.error(f"insert cd {tmp_path}/in/disc.iso image-files={tmp_path}/secret.json")


# --- secrets, and what outlives the process ---


def test_they_are_shown_nowhere_and_outlive_the_process_if_they_may(slots, seeded, tmp_path):
    d = slots("daemon.log-level=debug")
    d.ok("trace on")
    d.ok(f"insert cd {seeded.image} {given(CHANGES)}")
    (tmp_path / "changes.json").write_text(json.dumps(CHANGES))
    d.ok(f"insert other {seeded.image} image-files={tmp_path}/changes.json")
    first = content(d, tmp_path, "other").read_bytes()
    assert CANARY.encode() in first
    shown = "\n".join(line for command in ("status", "status --json", "stats", "report cd", "help") for line in d.ask(command))
    wait_for(lambda: '"other"' in d.state(), "the state file")
    d.error(f"insert cd {seeded.image} {given({'/nothing': CANARY})} dry-run")
    assert CANARY not in shown + d.state() + d.log()
    d.kill()
    again = type(d)(d.folder, config=d.config.read_text())
    try:
        wait_for(lambda: again.slot(1)["state"] == "ready", "the medium")
        assert content(again, tmp_path, "other").read_bytes() == first
        assert again.slot(0)["state"] == "empty" and "state-secrets" in again.log()
    finally:
        again.stop()


# --- the other doors ---


LINES = {"/isolinux/txt.cfg": {"insert": "# by another door"}}


def test_by_redfish(admin, service, nginx, image, tmp_path):
    wish = {"Image": nginx.url(image), **oem(ImageFiles=LINES)}
    assert admin.post(INSERT, wish).status == 204
    assert admin.post(INSERT, wish).status == 204 # the same again
    assert b"# by another door\n" in read(service.uri(), tmp_path)
    assert "another door" not in str(admin.slot())
    assert admin.patch(SLOT, {"Image": nginx.url(image), **oem(KernelArguments="mark=2")}).status in (200, 204)
    now = read(service.uri(), tmp_path)
    assert b"# by another door\n" in now and b"mark=2" in now
    for wrong in ("/etc/passwd", [LINES]):
        assert admin.post(INSERT, {**wish, **oem(ImageFiles=wrong)}).ids == ["ActionParameterValueTypeError"]
    gone = admin.patch(SLOT, {"Image": nginx.url(image), **oem(ImageFiles={"/nothing": "x"})})
    assert gone.ids == ["ImageNotUsable"] and "no file /nothing" in str(gone.json)


def test_by_the_pages_api_and_the_configuration(new_site, nginx, image, tmp_path):
    http = f"[http]\nca-file = {nginx.tls}/ca.pem\n"
    site = new_site(more=f"{http}[slot conf]\nattach = socket\nimage = {nginx.url(image)}\nimage-files = {json.dumps(LINES)}\n")
    web = site.web("operator")
    assert web.insert("slot0", nginx.url(image), imageFiles=LINES).status == 200
    wait_for(lambda: web.slot("conf")["state"] == "ready", "the configured image")
    assert read(site.uri(), tmp_path).count(b"# by another door\n") == read(site.uri("conf"), tmp_path).count(b"# by another door\n") == 1
    assert web.eject("slot0").status == 200
    assert "an object" in web.insert("slot0", nginx.url(image), imageFiles="/etc/passwd").error
