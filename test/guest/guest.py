"""A machine of its own for the daemon: QEMU without KVM, the distribution's kernel, and an initramfs with the daemon in it.

The kernel's dummy_hcd is a USB device controller and a host controller in one: what the daemon exports as a gadget, the same
kernel sees as a USB drive, /dev/sr0 or /dev/sdX. The test machine is 10.0.2.2 for the guest.
"""
import base64
import gzip
import lzma
import os
import pathlib
import re
import shutil
import socket
import subprocess
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
MODULES = ["virtio_pci", "virtio_net", "virtio_console", "configfs", "libcomposite", "usb_f_mass_storage", "dummy_hcd", "usb-storage",
           "sd_mod", "sr_mod", "nbd", "isofs", "ext4"]
PROGRAMS = ["socat", "mke2fs", "e2fsck", "debugfs", "setpriv", "eject"]  # debugfs shows what a file system holds
PROMPT = "guest is ready"


def kernel_tree():
    folder = pathlib.Path(os.environ.get("NBD_PROXY_KERNEL") or TOP / "build" / "check" / "kernel")
    return pathlib.Path(subprocess.run([TOP / "test" / "guest" / "fetch-kernel", folder], check=True, stdout=subprocess.PIPE,
                                       text=True).stdout.strip())


class Kernel:
    """The unpacked package: its image, and its modules by name."""

    def __init__(self, tree):
        self.image = sorted(tree.glob("boot/vmlinuz-*"))[-1]
        version = self.image.name.removeprefix("vmlinuz-")
        base = next(b for b in (tree, tree / "usr") if (b / "lib" / "modules" / version).is_dir())
        self.folder = base / "lib" / "modules" / version
        if not (self.folder / "modules.dep").exists():
            subprocess.run([shutil.which("depmod", path="/sbin:/usr/sbin:/bin:/usr/bin"), "-b", base, version], check=True)
        self.needs = {}
        for line in (self.folder / "modules.dep").read_text().splitlines():
            path, _, needs = line.partition(":")
            self.needs[path] = needs.split()
        self.paths = {re.sub(r"\.ko.*", "", pathlib.Path(p).name).replace("-", "_"): p for p in self.needs}
        self.aliases = (self.folder / "modules.softdep").read_text() if (self.folder / "modules.softdep").exists() else ""
        self.builtin = {re.sub(r"\.ko.*", "", pathlib.Path(p).name).replace("-", "_")
                        for p in (self.folder / "modules.builtin").read_text().split()}

    def closure(self, names):
        """The paths of the modules and of all that they need, in an order to load them."""
        order = []

        def add(path):
            if path in order:
                return
            for need in reversed(self.needs[path]):
                add(need)
            order.append(path)

        for name in names:
            name = name.replace("-", "_")
            if name not in self.builtin:
                add(self.paths[name])
        # What modules ask for at run time, which modules.dep does not know.
        for extra in ("crc32c_generic", "crct10dif_generic", "crc64_rocksoft"):
            if extra in self.paths and self.paths[extra] not in order:
                before = len(order)
                add(self.paths[extra])
                order = order[before:] + order[:before]
        return order

    def module(self, path):
        data = (self.folder / path).read_bytes()
        if path.endswith(".xz"):
            return lzma.decompress(data)
        if path.endswith(".gz"):
            return gzip.decompress(data)
        if path.endswith(".zst"):
            return subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, check=True).stdout
        return data


def libraries(program):
    out = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=True).stdout
    return sorted(set(re.findall(r"(/\S+) \(0x", out)))


INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /mnt /usr/sbin /usr/bin /sbin
/bin/busybox --install -s
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
for m in $(cat /modules/order); do
    case $m in
    dummy_hcd.ko) insmod /modules/$m num=3 || echo "insmod $m failed" ;;
    nbd.ko) insmod /modules/$m max_part=0 nbds_max=4 || echo "insmod $m failed" ;;
    *) insmod /modules/$m || echo "insmod $m failed" ;;
    esac
done
mount -t configfs none /sys/kernel/config
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
mkdir -p /run/nbd-proxy
until [ -c /dev/vport0p1 ]; do sleep 0.1; done
exec 3<>/dev/vport0p1
echo "PROMPT" >&3
while read -r line <&3; do
    echo "$line" | base64 -d >/tmp/command
    setsid sh /tmp/command >/tmp/out 2>&1 </dev/null 3>&-
    code=$?
    base64 -w 0 /tmp/out >&3
    echo " $code" >&3
done
poweroff -f
""".replace("PROMPT", PROMPT)


class Guest:
    processor = "qemu64"
    clock = "tsc=unstable clocksource=hpet"

    def __init__(self, folder, daemon, files=(), memory=768, modules=MODULES):
        """`files`: (path in the guest, path here)."""
        self.folder = pathlib.Path(folder)
        self.kernel = Kernel(kernel_tree())
        self.make_initramfs(daemon, files, modules)
        self.start(memory)

    # --- the initramfs ---

    def put(self, path, data, mode=0o755):
        to = self.folder / "root" / path.lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(data)
        to.chmod(mode)

    def put_program(self, path, program):
        self.put(path, pathlib.Path(program).read_bytes())
        for library in libraries(program):
            self.put(library, pathlib.Path(library).read_bytes())

    def make_initramfs(self, daemon, files, modules):
        root = self.folder / "root"
        self.put("/init", INIT.encode())
        self.put("/bin/busybox", pathlib.Path("/bin/busybox").read_bytes())
        order = self.kernel.closure(modules)
        names = [re.sub(r"\.ko.*", ".ko", pathlib.Path(p).name) for p in order]
        for name, path in zip(names, order):
            self.put(f"/modules/{name}", self.kernel.module(path))
        self.put("/modules/order", "\n".join(names).encode())
        self.put_program("/usr/sbin/nbd-proxy", daemon)
        for program in PROGRAMS:
            found = shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin")
            self.put_program(f"/usr/bin/{program}", found)
        self.put("/etc/passwd", b"root:x:0:0:root:/:/bin/sh\nnbd-proxy:x:990:990::/:/bin/false\n", 0o644)
        self.put("/etc/group", b"root:x:0:\nnbd-proxy:x:990:\n", 0o644)
        self.put("/etc/machine-id", b"0123456789abcdef0123456789abcdef\n", 0o644)
        for path, source in files:
            self.put(path, pathlib.Path(source).read_bytes(), 0o644)
        names = subprocess.run(["find", "."], cwd=root, stdout=subprocess.PIPE, check=True).stdout
        archive = subprocess.run(["cpio", "-o", "-H", "newc", "-R", "0:0", "--quiet"], cwd=root, input=names,
                                 stdout=subprocess.PIPE, check=True).stdout
        (self.folder / "initramfs").write_bytes(archive)
        shutil.rmtree(root)

    # --- the machine ---

    def start(self, memory):
        self.console_path = self.folder / "console"
        agent = str(self.folder / "agent")
        command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-smp", "2", "-m", str(memory), "-nographic", "-no-reboot",
                   "-nodefaults", "-kernel", self.kernel.image, "-initrd", self.folder / "initramfs",
                   "-append", f"console=ttyS0 panic=-1 mitigations=off {self.clock}", "-cpu", self.processor,
                   "-serial", f"file:{self.console_path}",
                   # A virtio port and not a second serial line, which loses characters when the machine is busy.
                   "-chardev", f"socket,id=agent,path={agent},server=on,wait=on",
                   "-device", "virtio-serial-pci,id=ports,max_ports=2", "-device", "virtserialport,bus=ports.0,nr=1,chardev=agent",
                   "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n"]
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=open(self.folder / "qemu.log", "wb"))
        self.agent = socket.socket(socket.AF_UNIX)
        self.lock = threading.Lock()
        deadline = time.monotonic() + 20
        while True:
            try:
                self.agent.connect(agent)
                break
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, (self.folder / "qemu.log").read_text()
                time.sleep(0.05)
        self.buffer = b""
        while PROMPT not in self.line(120):
            pass

    def console(self):
        return self.console_path.read_text(errors="replace")

    def line(self, seconds):
        self.agent.settimeout(seconds)
        while b"\n" not in self.buffer:
            try:
                data = self.agent.recv(65536)
            except TimeoutError:
                data = b""
            assert data, "the guest does not answer\n" + self.console()[-6000:]
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode(errors="replace").strip()

    def run(self, command, seconds=120):
        """(exit code, output) of a shell command."""
        with self.lock:
            self.agent.sendall(base64.b64encode(command.encode()) + b"\n")
            output, _, code = self.line(seconds).rpartition(" ")
            return int(code), base64.b64decode(output.strip()).decode(errors="replace")

    def ok(self, command, seconds=120):
        code, output = self.run(command, seconds)
        assert code == 0, f"{command}: {code}\n{output}\n--- console ---\n{self.console()[-3000:]}"
        return output.strip()

    def stop(self):
        self.process.kill()
        self.process.wait()
