"""An image with boot configurations for BIOS and EFI, made with xorriso and mtools. It need not boot."""
import hashlib
import os
import random
import subprocess

import pytest

GRUB = "# a comment\nset timeout=1\nmenuentry 'Install' {\n\tlinux /boot/vmlinuz quiet ---\n\tinitrd /boot/initrd\n}\n"
ISOLINUX = "default vesamenu.c32\ninclude txt.cfg\n"
TXT = "label install\n\tkernel /boot/vmlinuz\n\tappend initrd=/boot/initrd --- quiet\n"
ENTRY = "title x\nlinux /boot/vmlinuz\noptions root=LABEL=x\n"
ISOHYBRID = "/usr/lib/ISOLINUX/isohdpfx.bin"


def run(*command, **more):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, **more).stdout


def grown(text, size=2047):
    """So long that further arguments do not fit its block; what is added is no padding, which would give way."""
    return "#" + "x" * (size - len(text) - 2) + "\n" + text


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def efi_image(path, config, megabytes=1):
    """A FAT file system as El Torito has one, with GRUB's configuration in it."""
    with open(path, "wb") as f:
        f.truncate(megabytes << 20)
    run("mformat", "-i", path, "-T", megabytes << 11, "-h", "2", "-s", "32", "-c", "1", "::")
    run("mmd", "-i", path, "::/EFI", "::/EFI/BOOT", "::/loader", "::/loader/entries")
    local = path.with_suffix(".cfg")
    for name, text in (("EFI/BOOT/grub.cfg", config), ("loader/entries/a-long-name.conf", ENTRY)):
        local.write_text(text)
        run("mcopy", "-i", path, local, f"::/{name}")
    local.unlink()


KINDS = {
    "plain": [],
    "isohybrid": ["-isohybrid-mbr", ISOHYBRID, "-isohybrid-gpt-basdat"],
    "live-build": ["-joliet-long", "-l", "-cache-inodes", "-iso-level", "3", "-isohybrid-mbr", ISOHYBRID, "-partition_offset", "16",
                   "-isohybrid-gpt-basdat", "-isohybrid-apm-hfsplus"],
    "ubuntu": ["-partition_offset", "16", "--mbr-force-bootable"],
    "gpt": ["--protective-msdos-label", "-efi-boot-part", "--efi-boot-image"],
}


class Disc:
    """A folder, and the image that xorriso makes of it: Rock Ridge, Joliet, El Torito for BIOS and EFI, a partition table."""

    def __init__(self, place, grub=GRUB, efi=GRUB, kind="gpt"):
        if ISOHYBRID in KINDS[kind] and not os.path.exists(ISOHYBRID):
            pytest.skip("needs isolinux")
        self.place, self.folder, self.image = place, place / "disc", place / "disc.iso"
        noise = random.Random(3)
        write(self.folder / "boot/grub/grub.cfg", grub)
        write(self.folder / "isolinux/isolinux.cfg", ISOLINUX)
        write(self.folder / "isolinux/txt.cfg", TXT)
        write(self.folder / "isolinux/isolinux.bin", noise.randbytes(4096))
        write(self.folder / "boot/vmlinuz", noise.randbytes(300_001))
        write(self.folder / "boot/initrd", noise.randbytes(100_001))
        for i in range(40):
            write(self.folder / f"pool/package number {i}.deb", noise.randbytes(1000 * i))
        efi_image(self.folder / "boot/efi.img", efi)
        sums = [f"{hashlib.md5(p.read_bytes()).hexdigest()}  ./{p.relative_to(self.folder)}\n"
                for p in sorted(self.folder.rglob("*")) if p.is_file() and "vmlinuz" not in p.name]
        write(self.folder / "md5sum.txt", "".join(sums))
        run("xorriso", "-as", "mkisofs", "-quiet", "-o", self.image, "-V", "TEST", "-J", "-R",
            "-c", "isolinux/boot.cat", "-b", "isolinux/isolinux.bin", "-no-emul-boot", "-boot-load-size", "4",
            "-eltorito-alt-boot", "-e", "boot/efi.img", "-no-emul-boot", *KINDS[kind], self.folder)
