"""Hosts boot by every firmware and boot loader, though the menus would wait for a key, and their kernels say the arguments that
the insert gave."""
import os
import pathlib
import re
import subprocess

import host
import pytest
from conftest import TOP

BOOT_SECONDS = 240  # a slow machine without KVM; a boot takes about ten
MARK = "mark=4711"
# The first line of all that a kernel prints says its arguments; there is no console on the serial port but by them.
ARGUMENTS = f"console=ttyS0,115200 panic=-1 {MARK}"
ISOLINUX = pathlib.Path("/usr/lib/ISOLINUX")
LDLINUX = pathlib.Path("/usr/lib/syslinux/modules/bios/ldlinux.c32")
SYSTEMD_BOOT = pathlib.Path("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")
INSTALLER = pathlib.Path("/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64")
NEEDED = [t for t in host.missing() if t not in ("busybox", "cpio", "cc", "readelf")] # these make another medium

pytestmark = pytest.mark.skipif(bool(NEEDED), reason="not installed: " + " ".join(NEEDED))


def run(*command):
    subprocess.run([str(c) for c in command], check=True, capture_output=True)


@pytest.fixture(scope="session")
def vmlinuz():
    folder = os.environ.get("NBD_PROXY_KERNEL") or TOP / "build" / "check" / "kernel"
    tree = subprocess.run([TOP / "test" / "guest" / "fetch-kernel", folder], check=True, stdout=subprocess.PIPE, text=True)
    return sorted(pathlib.Path(tree.stdout.strip()).glob("boot/vmlinuz-*"))[-1]


def grown(text, size):
    """So long that it does not fit its block any more with the arguments."""
    return "#" + "x" * (size - len(text) - 2) + "\n" + text


def start_folder(place, vmlinuz):
    disc = place / "disc"
    (disc / "boot" / "grub").mkdir(parents=True)
    os.link(vmlinuz, disc / "boot" / "vmlinuz") if vmlinuz.stat().st_dev == disc.stat().st_dev else \
        (disc / "boot" / "vmlinuz").write_bytes(vmlinuz.read_bytes())
    return disc


def efi_image(path, files, megabytes):
    with open(path, "wb") as f:
        f.truncate(megabytes << 20)
    run("mformat", "-i", path, "-T", megabytes << 11, "-h", "16", "-s", "63", "-c", "4", "::")
    folders = {str(p) for name in files for p in pathlib.PurePath(name).parents if str(p) != "."}
    for folder in sorted(folders):
        run("mmd", "-i", path, f"::/{folder}")
    for name, source in files.items():
        run("mcopy", "-i", path, source, f"::/{name}")


GRUB_ENTRY = ("set timeout=-1\nmenuentry wrong {\n  linux /boot/vmlinuz wrong=1\n}\n"
              "submenu more {\n  menuentry Right --id x {\n    linux /boot/vmlinuz\n  }\n}\n")


def grub_disc(place, vmlinuz):
    """grub-mkrescue's: GRUB for both firmwares, one configuration on the medium, MBR, GPT, APM and HFS+."""
    disc = start_folder(place, vmlinuz)
    (disc / "boot/grub/grub.cfg").write_text(grown(GRUB_ENTRY, 2047))
    run("grub-mkrescue", "-o", place / "disc.iso", disc)


def mkisofs(place, disc, *options):
    run("xorriso", "-as", "mkisofs", "-quiet", "-J", "-R", "-o", place / "disc.iso", *options, disc)


def isolinux_disc(place, vmlinuz):
    """isolinux, hybrid: by BIOS from a disc and from a stick."""
    if not ISOLINUX.exists() or not LDLINUX.exists():
        pytest.skip("needs isolinux and syslinux-common")
    disc = start_folder(place, vmlinuz)
    (disc / "isolinux").mkdir()
    for file in (ISOLINUX / "isolinux.bin", LDLINUX):
        (disc / "isolinux" / file.name).write_bytes(file.read_bytes())
    (disc / "isolinux/isolinux.cfg").write_text(grown("default wrong\nprompt 1\ntimeout 0\n"
                                                      "label wrong\n  kernel /boot/vmlinuz\n  append wrong=1\n"
                                                      "label x\n  kernel /boot/vmlinuz\n  append vga=normal\n", 2047))
    mkisofs(place, disc, "-isohybrid-mbr", ISOLINUX / "isohdpfx.bin", "-c", "isolinux/boot.cat", "-b",
            "isolinux/isolinux.bin", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table")


def entry_disc(place, vmlinuz):
    """systemd-boot: kernel and entry are in the EFI image, a partition behind the volume; the entry needs another cluster."""
    if not SYSTEMD_BOOT.exists():
        pytest.skip("needs systemd-boot-efi")
    disc = start_folder(place, vmlinuz)
    entry, wrong, loader, image = place / "entry", place / "wrong", place / "loader", place / "efi.img"
    loader.write_text("timeout 1000\n")
    wrong.write_text("title wrong\nlinux /vmlinuz.efi\noptions wrong=1\n")
    entry.write_text(grown("title x\nlinux /vmlinuz.efi\n", 2047))
    efi_image(image, {"EFI/BOOT/BOOTX64.EFI": SYSTEMD_BOOT, "vmlinuz.efi": vmlinuz, "loader/loader.conf": loader,
                      "loader/entries/x.conf": entry, "loader/entries/z.conf": wrong}, 24)
    mkisofs(place, disc, "-append_partition", "2", "0xef", image, "-e", "--interval:appended_partition_2:all::",
            "-no-emul-boot")


GRUB_OF_INSTALLER = ("search --file --set=root /.disk/mini-info\nset prefix=($root)/boot/grub\n"
                     "configfile ($root)/boot/grub/grub.cfg\n")


def installer_disc(place):
    """Debian's installer as its mini.iso has it: isolinux, and a GRUB in an EFI image that looks for the medium; kernel and
    initrd are those of its netboot image."""
    if not INSTALLER.exists() or not ISOLINUX.exists() or not LDLINUX.exists():
        pytest.skip("needs debian-installer-12-netboot-amd64, isolinux and syslinux-common")
    disc = place / "disc"
    (disc / "boot/grub").mkdir(parents=True)
    (disc / ".disk").mkdir()
    (disc / ".disk/mini-info").write_text("mini\n")
    for file in (INSTALLER / "linux", INSTALLER / "initrd.gz", ISOLINUX / "isolinux.bin", LDLINUX):
        (disc / file.name).write_bytes(file.read_bytes())
    (disc / "isolinux.cfg").write_text("path\ninclude txt.cfg\nprompt 0\ntimeout 0\ndefault install\n")
    (disc / "txt.cfg").write_text("label install\n\tkernel linux\n\tappend vga=788 initrd=initrd.gz --- quiet \n")
    (disc / "boot/grub/grub.cfg").write_text("set timeout=-1\nmenuentry 'Install' {\n    linux    /linux vga=788 --- quiet\n"
                                             "    initrd   /initrd.gz\n}\n")
    early, loader = place / "early.cfg", place / "bootx64.efi"
    early.write_text(GRUB_OF_INSTALLER)
    run("grub-mkimage", "-O", "x86_64-efi", "-o", loader, "-c", early, "-p", "/boot/grub", "iso9660", "fat", "part_gpt", "search",
        "search_fs_file", "normal", "linux", "configfile", "all_video", "test", "echo")
    efi_image(disc / "boot/grub/efi.img", {"EFI/BOOT/BOOTX64.EFI": loader}, 4)
    mkisofs(place, disc, "-isohybrid-mbr", ISOLINUX / "isohdpfx.bin", "-c", "boot.cat", "-b", "isolinux.bin", "-no-emul-boot",
            "-boot-load-size", "4", "-boot-info-table", "-eltorito-alt-boot", "-e", "boot/grub/efi.img", "-no-emul-boot")


LIVE = "Live system (amd64 fail-safe mode)"
LIVE_MENU = {
    "isolinux/isolinux.cfg": "include menu.cfg\ndefault vesamenu.c32\nprompt 0\ntimeout 0\n",
    "isolinux/menu.cfg": "menu hshift 0\nmenu width 82\nmenu title Boot menu\ninclude live.cfg\nmenu begin utilities\n"
                         "\tmenu label ^Utilities\n\tlabel mainmenu\n\t\tmenu label ^Back..\n\t\tmenu exit\nmenu end\nmenu clear\n",
    "isolinux/live.cfg": "label live-amd64\n\tmenu label ^Live system (amd64)\n\tmenu default\n\tlinux /live/vmlinuz\n\tappend wrong=1\n\n"
                         f"label live-amd64-failsafe\n\tmenu label {LIVE}\n\tlinux /live/vmlinuz\n\tappend boot=live nomodeset\n",
    "boot/grub/config.cfg": "set default=0\nsource /boot/grub/theme.cfg\n",
    "boot/grub/theme.cfg": "set menu_color_normal=cyan/blue\n",
    "boot/grub/grub.cfg": "source /boot/grub/config.cfg\nmenuentry \"Live system (amd64)\" --hotkey=l {\n\tlinux\t/live/vmlinuz wrong=1\n}\n"
                          f"menuentry \"{LIVE}\" {{\n\tlinux\t/live/vmlinuz boot=live nomodeset\n}}\n",
    ".disk/info": "live\n",
}


def live_disc(place, vmlinuz):
    """As live-build makes it: menus in several files, GRUB by EFI, and the volume once more in a stick's first partition, where
    the kernels' mounts and GRUB may look."""
    disc = place / "disc"
    for name, text in LIVE_MENU.items():
        (disc / name).parent.mkdir(parents=True, exist_ok=True)
        (disc / name).write_text(text)
    (disc / "live").mkdir()
    (disc / "live/vmlinuz").write_bytes(vmlinuz.read_bytes())
    for file in (ISOLINUX / "isolinux.bin", *(LDLINUX.with_name(f"{m}.c32") for m in ("ldlinux", "vesamenu", "libcom32", "libutil"))):
        if not file.exists():
            pytest.skip("needs isolinux and syslinux-common")
        (disc / "isolinux" / file.name).write_bytes(file.read_bytes())
    early, loader = place / "early.cfg", place / "bootx64.efi"
    early.write_text("search --set=root --file /.disk/info\nset prefix=($root)/boot/grub\nconfigfile ($root)/boot/grub/grub.cfg\n")
    run("grub-mkimage", "-O", "x86_64-efi", "-o", loader, "-c", early, "-p", "/boot/grub", "iso9660", "fat", "part_gpt", "part_msdos",
        "search", "search_fs_file", "normal", "linux", "configfile", "all_video", "test", "echo")
    efi_image(disc / "boot/grub/efi.img", {"EFI/boot/bootx64.efi": loader}, 4)
    mkisofs(place, disc, "-joliet-long", "-l", "-cache-inodes", "-iso-level", "3", "-isohybrid-mbr", ISOLINUX / "isohdpfx.bin",
            "-partition_offset", "16", "-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size",
            "4", "-boot-info-table", "-eltorito-alt-boot", "-e", "boot/grub/efi.img", "-no-emul-boot", "-isohybrid-gpt-basdat",
            "-isohybrid-apm-hfsplus")


@pytest.mark.parametrize("firmware", ("bios", "uefi"))
def test_debians_installer_has_its_network(daemon, tmp_path, firmware):
    installer_disc(tmp_path)
    d = daemon()
    network = r'{\"address\": \"192.0.2.7/24\", \"gateway\": \"192.0.2.1\", \"interface\": \"eno1\", \"dns\": \"192.0.2.53,192.0.2.54\"}'
    d.ok(f'insert 0 {tmp_path}/disc.iso kernel-args="{ARGUMENTS} ignore_loglevel" menu-timeout=1 "network-data={network}" network-kind=debian-installer')
    h = host.Host(tmp_path, firmware, "cdrom", d.uri())
    try:
        h.wait_for(MARK, BOOT_SECONDS)
        h.wait_for("netcfg/confirm_static=true", BOOT_SECONDS)
        # One argument, which GRUB quotes as a whole.
        assert re.search(rb'netcfg/get_nameservers="192.0.2.53 192.0.2.54"|"netcfg/get_nameservers=192.0.2.53 192.0.2.54"', h.serial)
    finally:
        h.stop()


WAYS = [(grub_disc, "bios", "cdrom"), (grub_disc, "bios", "usb"), (grub_disc, "uefi", "cdrom"), (grub_disc, "uefi", "usb"),
        (isolinux_disc, "bios", "cdrom"), (live_disc, "bios", "usb"), (live_disc, "uefi", "usb"), (entry_disc, "uefi", "cdrom"),
        (entry_disc, "uefi", "usb")]


@pytest.mark.parametrize("make,firmware,device", WAYS, ids=lambda value: getattr(value, "__name__", value))
def test_a_kernel_has_the_arguments(daemon, tmp_path, vmlinuz, make, firmware, device):
    make(tmp_path, vmlinuz)
    d = daemon()
    entry = LIVE if make is live_disc else "x"
    d.ok(f'insert 0 {tmp_path}/disc.iso kernel-args="{ARGUMENTS}" menu-timeout=1 menu-default="{entry}"')
    h = host.Host(tmp_path, firmware, device, d.uri())
    try:
        h.wait_for(MARK, BOOT_SECONDS)
        assert b"wrong=1" not in h.serial
    finally:
        h.stop()
