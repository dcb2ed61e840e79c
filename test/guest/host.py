"""A QEMU that is the host: it boots from one medium, and its first serial port is read. Needs no KVM."""
import os
import select
import shutil
import subprocess
import time

# With Debian's names. The variables are written by the firmware, so each host has its own copy.
UEFI_CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
UEFI_VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd"

FIRMWARES = ("bios", "uefi")
DEVICES = {
    "cdrom": ["-device", "ide-cd,drive=medium,bootindex=0"],
    "usb": ["-device", "qemu-xhci", "-device", "usb-storage,drive=medium,bootindex=0,removable=on"],
}


def missing():
    """What a boot needs and is not there, what fetch-kernel and make-iso run included."""
    tools = ["qemu-system-x86_64", "grub-mkrescue", "xorriso", "mformat", "cpio", "busybox", "cc", "readelf", "apt-get", "dpkg"]
    files = [UEFI_CODE, UEFI_VARIABLES, "/usr/lib/grub/i386-pc", "/usr/lib/grub/x86_64-efi"]
    return [t for t in tools if not shutil.which(t)] + [f for f in files if not os.path.exists(f)]


class Host:
    """`image` is what QEMU's file= takes: a path, an NBD URI or json:. `folder` must outlive it."""

    def __init__(self, folder, firmware, device, image):
        drive = "id=medium,if=none,media=cdrom,readonly=on,format=raw,file=" + str(image).replace(",", ",,")
        command = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-smp", "1", "-m", "512", "-nodefaults",
                   "-display", "none", "-no-reboot", "-serial", "stdio", "-drive", drive, *DEVICES[device]]
        if firmware == "uefi":
            variables = os.path.join(folder, "variables.fd")
            shutil.copyfile(UEFI_VARIABLES, variables)
            command += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={UEFI_CODE}",
                        "-drive", f"if=pflash,unit=1,format=raw,file={variables}"]
        self.log = open(os.path.join(folder, "qemu.log"), "w+b")
        self.serial = b""
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log)

    def wait_for(self, text, seconds):
        """How many seconds after QEMU's start the text stood on the serial port. Raises TimeoutError, or EOFError."""
        deadline = time.monotonic() + seconds
        while text.encode() not in self.serial:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"no {text!r} on the serial port after {seconds} s:\n{self.told()}")
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                raise EOFError(f"QEMU ended before {text!r}:\n{self.told()}")
            self.serial += more
        return time.monotonic() - self.began

    def told(self):
        """The end of the serial port's text, and QEMU's own words."""
        self.log.seek(0)
        return (self.serial[-4000:] + self.log.read()).decode(errors="replace")

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()
