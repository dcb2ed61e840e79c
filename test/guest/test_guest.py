"""The daemon on a real kernel: its nbd device, its USB gadget, and the drive that the host sees at the other end."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import time

import pytest

from conftest import TOP, binary, make_image, sha, wait_for
from guest import Guest

MISSING = [p for p in ("qemu-system-x86_64", "cpio", "busybox") if not shutil.which(p)]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")

SOCKET = "/run/nbd-proxy/control.sock"
HTTP = "[http]\nca-file = /etc/ca.pem\n"
FAST = HTTP + "io-timeout = 3s\nstall-timeout = 1s\nconnect-timeout = 1s\n"
CD = "[slot cd]\n"
STICK = "[slot stick]\nmedia = disk\n"


@pytest.fixture(scope="module")
def machine(tmp_path_factory, certificates):
    guest = Guest(tmp_path_factory.mktemp("guest"), binary(), files=[("/etc/ca.pem", certificates / "ca.pem")])
    yield guest
    console = guest.console()
    guest.stop()
    for bad in ("BUG:", "Oops", "hung task", "blocked for more than", "Call Trace"):
        assert bad not in console, console[-8000:]


class Proxy:
    """A daemon in the guest."""

    def __init__(self, guest):
        self.guest = guest
        self.config = None
        self.prefix = self.arguments = ""

    def start(self, slots=None, http=HTTP):
        """A daemon with these sections, or with those of before."""
        if slots is not None or self.config is None:
            self.config = f"[daemon]\nlog-level = debug\n{http}" + (slots or CD + STICK)
        self.guest.ok(f"cat >/tmp/conf <<'END'\n{self.config}END\n"
                      f"{self.prefix} nbd-proxy --config /tmp/conf {self.arguments} >>/tmp/log 2>&1 </dev/null & echo $! >/tmp/pid")
        wait_for(lambda: self.guest.run(f"echo slots | socat -t 9 - UNIX-CONNECT:{SOCKET}")[0] == 0, "the daemon in the guest")
        return self

    def ask(self, command):
        return self.guest.run(f"echo '{command}' | socat -t 90 - UNIX-CONNECT:{SOCKET}")[1].splitlines()[-1]

    def ok(self, command):
        answer = self.ask(command)
        assert answer.startswith("ok"), answer + "\n" + self.log()
        return answer

    def error(self, command):
        answer = self.ask(command)
        assert answer.startswith("error: "), answer
        return answer

    def status(self):
        return json.loads(self.guest.run(f"echo 'status --json' | socat -t 9 - UNIX-CONNECT:{SOCKET}")[1].splitlines()[0])

    def slot(self, index=0):
        return self.status()["slots"][index]

    def log(self):
        return self.guest.run("cat /tmp/log")[1]

    def alive(self):
        return self.guest.run("kill -0 $(cat /tmp/pid)")[0] == 0

    def kill(self, number="KILL"):
        self.guest.ok(f"kill -{number} $(cat /tmp/pid)")

    def stop(self):
        if self.alive():
            self.kill("TERM")
            wait_for(lambda: not self.alive(), "the daemon's end", 60)

    def process(self):
        """What /proc says of the daemon."""
        lines = self.guest.ok("cat /proc/$(cat /tmp/pid)/status").splitlines()
        return {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}

    def helper(self):
        """The number of its helper's process."""
        return self.guest.ok("cat /proc/$(cat /tmp/pid)/task/*/children").split()[0]


@pytest.fixture
def proxy(machine):
    machine.ok("rm -f /tmp/log /run/nbd-proxy/*; echo t >/dev/kmsg")
    p = Proxy(machine)
    yield p
    p.stop()
    log = p.log()
    left = machine.run("ls /sys/kernel/config/usb_gadget")[1], machine.run("ls /sys/block/nbd*/pid 2>/dev/null")[1]
    if any(left):  # so that the next test does not suffer from it
        p.start()
        p.stop()
    assert left == ("", ""), log
    assert "Sanitizer" not in log and "runtime error" not in log and "left open" not in log, log
    wait_for(lambda: not machine.run("ls /sys/block | grep '^s[rd]'")[1], "the drives' end")


@pytest.fixture(scope="module")
def image(www):
    return make_image(www / "guest.iso", 24 << 20, seed=7)


def url(nginx, name="guest.iso"):
    return nginx.url(name, host="10.0.2.2")


def drive(machine, kind):
    """The name of the host's drive: "sr" or "sd"."""
    return wait_for(lambda: re.findall(rf"/dev/({kind}\w+)", machine.run(f"ls /dev/{kind}*")[1]), f"/dev/{kind}*")[0]


def with_medium(machine, name, size=0):
    """Opening the drive makes its driver look for a medium: without udev nothing else does."""
    def there():
        code, _ = machine.run(f"dd if=/dev/{name} bs=2048 count=1 of=/dev/null")
        return code == 0 and size in (0, 512 * int(machine.ok(f"cat /sys/block/{name}/size")))

    wait_for(there, f"a medium in {name}")


def drop_caches(machine):
    machine.ok("sync; echo 3 >/proc/sys/vm/drop_caches")


def digest(machine, name):
    return machine.ok(f"dd if=/dev/{name} bs=64k 2>/dev/null | sha256sum").split()[0]


def test_the_host_reads_the_image_from_a_cd_drive(machine, proxy, nginx, image):
    proxy.start()
    proxy.ok(f"insert 0 {url(nginx)}")
    name = drive(machine, "sr")
    with_medium(machine, name)
    assert digest(machine, name) == sha(image)
    s = proxy.slot()
    assert (s["attach"], s["device"], s["cdrom"], s["writable"]) == ("usb", "/dev/nbd0", True, False)
    assert machine.ok(f"cat /sys/block/{name}/device/vendor /sys/block/{name}/device/model").split("\n")[0].strip() == "nbd-prxy"
    assert "Virtual CD/DVD" in machine.console()
    assert machine.ok("cat /sys/block/nbd0/backend") == "nbd-proxy:cd"


def test_the_host_mounts_a_config_medium(machine, proxy):
    """By Rock Ridge, where only root reads it, and by Joliet; it is found by its label."""
    files = {"user_data": "#cloud-config {serial}\n", "openstack/content/0000": "deep"}
    machine.ok(f"cat >/tmp/site.json <<'END'\n{json.dumps(files)}\nEND")
    proxy.start(CD)
    proxy.ok("insert 0 config=/tmp/site.json config-kind=config-2 serial=SN42")
    name = drive(machine, "sr")
    with_medium(machine, name)
    assert machine.ok(f"dd if=/dev/{name} bs=1 skip=32808 count=8 2>/dev/null") == "config-2"
    for option in ("ro", "ro,norock"):
        machine.ok(f"mount -t iso9660 -o {option} /dev/{name} /mnt")
        try:
            assert machine.ok("cat /mnt/openstack/latest/user_data") == "#cloud-config SN42" # ok() strips it
            assert machine.ok("cat /mnt/openstack/content/0000") == "deep"
            assert json.loads(machine.ok("cat /mnt/openstack/latest/meta_data.json")) == {"uuid": "SN42"}
            mode = machine.ok("ls -l /mnt/openstack/latest/user_data").split()[0]
            assert mode == "-r--------" or option != "ro"
        finally:
            machine.ok("umount /mnt")


def test_a_medium_changes_without_plugging_the_drive_anew(machine, proxy, nginx, image, www):
    proxy.start()
    name = drive(machine, "sr")
    number = machine.ok("cat /sys/bus/usb/devices/1-1/devnum")
    for file in ("guest.iso", "other.iso"):
        proxy.ok(f"insert 0 {url(nginx, file)}")
        with_medium(machine, name)
        content = (www / file).read_bytes()
        whole = len(content) // 2048 * 2048
        got = machine.ok(f"dd if=/dev/{name} bs=2048 count={whole // 2048} 2>/dev/null | sha256sum").split()[0]
        assert got == hashlib.sha256(content[:whole]).hexdigest()
        proxy.ok("eject 0")
        assert machine.run(f"dd if=/dev/{name} bs=2048 count=1 of=/dev/null")[0] != 0
        assert machine.run("cat /sys/block/nbd0/pid")[0] != 0
    assert machine.ok("cat /sys/bus/usb/devices/1-1/devnum") == number


def test_the_host_sees_what_the_configuration_says_of_the_drive(machine, proxy, nginx, image):
    proxy.start(STICK + "usb-vendor-id = 0x1234\nusb-product-id = 0xabcd\nusb-manufacturer = A maker\nusb-product = A stick\n"
                "usb-serial = SN-0042\nusb-inquiry = VENDOR__MODEL___________R001\nusb-power = 250\nusb-fua = no\n")
    proxy.ok(f"insert stick {url(nginx)}")
    name = drive(machine, "sd")
    with_medium(machine, name)
    told = machine.ok("cd /sys/bus/usb/devices/1-1 && cat idVendor idProduct manufacturer product serial bMaxPower").splitlines()
    assert told == ["1234", "abcd", "A maker", "A stick", "SN-0042", "250mA"]
    told = machine.ok(f"cd /sys/block/{name}/device && cat vendor model rev").splitlines()
    assert [line.strip() for line in told] == ["VENDOR__", "MODEL___________", "R001"]
    lun = "/sys/kernel/config/usb_gadget/nbd-proxy-stick/functions/mass_storage.0/lun.0"
    assert machine.ok(f"cd {lun} && cat cdrom ro removable nofua file").splitlines() == ["0", "1", "1", "1", "/dev/nbd0"]
    assert machine.ok(f"cat /sys/block/{name}/removable") == "1"


def test_the_device_is_made_as_the_configuration_says(machine, proxy, nginx, image):
    proxy.start("[slot a]\nattach = nbd\nnbd-device = /dev/nbd2\nnbd-connections = 3\nnbd-readahead = 256K\n"
                "[slot b]\nattach = nbd\nmedia = disk\nwritable = yes\n")
    machine.ok("truncate -s 1M /tmp/b.img; chown nbd-proxy /tmp/b.img")
    proxy.ok(f"insert a {url(nginx)}")
    proxy.ok("insert b /tmp/b.img")
    assert machine.ok("cd /sys/block/nbd2 && cat size ro backend queue/logical_block_size queue/read_ahead_kb queue/rotational "
                      "queue/add_random queue/write_cache").splitlines() == [
        str((24 << 20) // 512), "1", "nbd-proxy:a", "2048", "256", "0", "0", "write back"]
    assert "[none]" in machine.ok("cat /sys/block/nbd2/queue/scheduler")
    assert proxy.slot()["clients"]["connections"] == 3
    assert machine.ok("cd /sys/block/nbd1 && cat ro backend queue/logical_block_size queue/fua").splitlines() == ["0", "nbd-proxy:b", "512", "1"]
    assert digest(machine, "nbd2") == sha(image)
    machine.ok("printf written | dd of=/dev/nbd1 bs=512 seek=9 conv=fsync,sync 2>/dev/null")
    assert machine.ok("dd if=/tmp/b.img bs=512 skip=9 count=1 2>/dev/null | head -c 7") == "written"
    proxy.ok("eject b")
    machine.ok("rm /tmp/b.img")


def assert_no_rights(process):
    assert process["Uid"] == process["Gid"] == ["990"] * 4
    assert {process[name][0] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd")} == {"0" * 16}
    assert process["NoNewPrivs"] == ["1"] and process["Seccomp"] == ["2"]


def test_what_parses_has_no_rights(machine, proxy, nginx, image):
    proxy.start(CD + "socket-group = root\nsocket-mode = 0660\n")
    proxy.ok(f"insert 0 {url(nginx)}")
    assert_no_rights(proxy.process())
    assert machine.ok("ls -ln /run/nbd-proxy/cd.sock").split()[2:4] == ["990", "0"]
    name = drive(machine, "sr")
    with_medium(machine, name)
    assert digest(machine, name) == sha(image)
    attached = proxy.slot()["attach"]
    proxy.ok("reload")  # and what the machine can do is still known
    assert attached == proxy.slot()["attach"] == "usb" and proxy.slot()["state"] == "ready"
    assert len(machine.ok(f"ls /proc/{proxy.helper()}/fd").split()) == 4


def test_a_helper_that_dies_takes_the_daemon_along_and_the_media_stay(machine, proxy, nginx, image):
    proxy.start()
    proxy.ok(f"insert 0 {url(nginx)}")
    name = drive(machine, "sr")
    with_medium(machine, name)
    wait_for(lambda: "guest.iso" in machine.run("cat /run/nbd-proxy/state.json")[1], "the state file")
    machine.ok(f"kill -KILL {proxy.helper()}")
    wait_for(lambda: not proxy.alive(), "the daemon's end")
    assert "the helper has ended" in proxy.log()
    drop_caches(machine)
    proxy.start()
    assert digest(machine, name) == sha(image)
    assert proxy.slot()["state"] == "ready"


def bounding_set(unit):
    text = (TOP / "packaging" / unit).read_text()
    return "-all" + re.search(r"^CapabilityBoundingSet=(.*)$", text, re.M)[1].lower().replace("cap_", ",+").replace(" ", "")


def test_the_rights_that_the_units_leave_are_enough(machine, proxy, nginx, image):
    helper = f"/usr/bin/setpriv --no-new-privs --bounding-set={bounding_set('nbd-proxy-helper@.service')} nbd-proxy --no-config --serve-helper"
    machine.ok(f"echo 'exec {helper} 2>>/tmp/log' >/tmp/helper; socat UNIX-LISTEN:/run/helper.sock,type=5,mode=600,user=nbd-proxy "
               "EXEC:'sh /tmp/helper',nofork >/tmp/socat 2>&1 </dev/null &")
    machine.ok("chown nbd-proxy /run/nbd-proxy; until [ -S /run/helper.sock ]; do sleep 0.1; done")
    proxy.prefix = (f"/usr/bin/setpriv --no-new-privs --reuid=990 --regid=990 --clear-groups "
                    f"--bounding-set={bounding_set('nbd-proxy.service')}")
    proxy.arguments = "--helper=/run/helper.sock"
    proxy.start(CD)
    assert_no_rights(proxy.process())
    proxy.ok(f"insert 0 {url(nginx)}")
    name = drive(machine, "sr")
    with_medium(machine, name)
    assert digest(machine, name) == sha(image)
    assert machine.ok("cat /sys/block/nbd0/queue/read_ahead_kb") == "512"
    proxy.ok("eject 0")


def test_openbmcs_guide_finds_its_gadget(machine, proxy, nginx, image):
    """By conf/openbmc.conf. A daemon that was killed leaves the gadget to one that gives its function another name."""
    text = (TOP / "conf" / "openbmc.conf").read_text()
    slots, gadget = text[text.index("[slot "):], "/sys/kernel/config/usb_gadget/virtual_media"
    proxy.start(slots)
    proxy.ok(f"insert slot0 {url(nginx)}")
    with_medium(machine, drive(machine, "sr"))
    assert machine.ok(f"ls {gadget}/functions; ls {gadget}/configs/c.1 | grep mass; cat {gadget}/configs/c.1/MaxPower "
                      f"{gadget}/strings/0x409/manufacturer").split() == ["mass_storage.0", "mass_storage.0", "500", "OpenBMC"]
    assert machine.ok("ls /sys/kernel/config/usb_gadget").split() == ["virtual_media", "virtual_media_1"]
    proxy.ok("eject slot0")
    proxy.kill()
    wait_for(lambda: not proxy.alive(), "the daemon's end")
    proxy.start(slots.replace("usb-function = 0", "usb-function = usb0"))
    proxy.ok(f"insert slot0 {url(nginx)}")
    assert machine.ok(f"ls {gadget}/functions").split() == ["mass_storage.usb0"]


def test_a_gadget_of_another_program_is_left_alone(machine, proxy, nginx, image):
    other = "/sys/kernel/config/usb_gadget/other"
    machine.ok(f"mkdir {other} {other}/functions {other}/functions/mass_storage.0 2>/dev/null; test -d {other}/functions/mass_storage.0")
    try:
        proxy.start(CD)
        proxy.ok(f"insert cd {url(nginx)}")
        proxy.ok("eject cd")
        proxy.stop()
        machine.ok(f"test -d {other}/functions/mass_storage.0")
    finally:
        machine.ok(f"rmdir {other}/functions/mass_storage.0 {other}")


def test_a_drive_that_is_present_only_with_a_medium(machine, proxy, nginx, image):
    proxy.start(CD + "usb-present = inserted\n")
    assert machine.run("ls /sys/kernel/config/usb_gadget/nbd-proxy-cd")[0] == 0
    assert machine.run("ls -d /sys/block/sr*")[0] != 0
    proxy.ok(f"insert cd {url(nginx)}")
    with_medium(machine, drive(machine, "sr"))
    proxy.ok("eject cd")
    wait_for(lambda: machine.run("ls -d /sys/block/sr*")[0] != 0, "the drive's end")


def test_an_image_too_large_for_a_cd_is_a_disk_with_every_byte(machine, proxy, nginx):
    proxy.start()
    drive(machine, "sr")
    proxy.ok(f"insert 0 {url(nginx, 'sparse.iso')}")
    assert proxy.slot()["cdrom"] is False
    assert "the host sees a USB disk" in proxy.log()
    wait_for(lambda: machine.run("cat /sys/block/sd?/size")[1].split().count(str((5 << 30) // 512)) == 1, "the disk")
    name = next(n for n in re.findall(r"/dev/(sd\w)", machine.ok("ls /dev/sd?"))
                if machine.ok(f"cat /sys/block/{n}/size") == str((5 << 30) // 512))
    assert machine.ok(f"tail -c 7 /dev/{name}") == "the end"
    assert machine.ok(f"cat /sys/block/{name}/ro") == "1"


def test_an_image_too_large_for_a_cd_is_refused_when_it_must_be_one(machine, proxy, nginx):
    proxy.start(CD + "usb-cdrom = yes\n")
    assert "2359293952 of a CD at most" in proxy.error(f"insert cd {url(nginx, 'sparse.iso')}")
    assert proxy.slot()["state"] == "empty"


@pytest.mark.parametrize("force", ["forced_eject", "unbind"])
def test_a_locked_medium_is_taken_by_force_in_the_end(machine, proxy, nginx, image, force):
    proxy.start(CD + "eject-patience = 1s\n")
    proxy.ok(f"insert cd {url(nginx)}")
    name = drive(machine, "sr")
    with_medium(machine, name)
    if force == "unbind":  # a kernel without that file
        machine.ok("mount -t tmpfs none /mnt && echo >/mnt/x && "
                   "mount --bind /mnt/x /sys/kernel/config/usb_gadget/nbd-proxy-cd/functions/mass_storage.0/lun.0/forced_eject && "
                   "mount -o remount,bind,ro /sys/kernel/config/usb_gadget/nbd-proxy-cd/functions/mass_storage.0/lun.0/forced_eject")
    machine.ok(f"sleep 600 </dev/{name} >/dev/null 2>&1 & echo $! >/tmp/holder; sleep 0.5")  # an open drive is locked
    lun = "/sys/kernel/config/usb_gadget/nbd-proxy-cd/functions/mass_storage.0/lun.0/file"
    assert "busy" in machine.run(f"echo >{lun}")[1]
    begin = time.monotonic()
    proxy.ok("eject cd")
    assert 1 <= time.monotonic() - begin < 20
    assert proxy.slot()["state"] == "empty"
    machine.run("kill $(cat /tmp/holder)")
    if force == "unbind":
        machine.ok("umount /sys/kernel/config/usb_gadget/nbd-proxy-cd/functions/mass_storage.0/lun.0/forced_eject; umount /mnt")


def test_a_medium_that_the_host_ejects(machine, proxy, nginx, image):
    """Linux only empties lun.0/file; a medium that was to stay until then goes, any other stays where it is."""
    proxy.start()
    proxy.ok(f"insert cd {url(nginx)} eject-policy=AfterUse")
    name = drive(machine, "sr")
    with_medium(machine, name)
    machine.ok(f"eject /dev/{name}")
    wait_for(lambda: proxy.slot()["state"] == "empty", "the eject", 15)
    assert "the host has ejected the medium" in proxy.log() and proxy.slot()["error"] is None
    proxy.ok(f"insert cd {url(nginx)}")
    with_medium(machine, name)
    machine.ok(f"eject /dev/{name}")
    time.sleep(2)  # nothing happens
    assert proxy.slot()["state"] == "ready"
    proxy.ok("eject cd")


def test_controllers_that_are_busy_are_passed_over(machine, proxy, nginx, image):
    proxy.start("".join(f"[slot {n}]\nusb-controller = {c}\n" for n, c in (
        ("a", "dummy_udc.1 dummy*"), ("b", "dummy_udc.[1-2]"), ("c", "dummy_udc.1"), ("d", "none*"))))
    wait_for(lambda: "none*" in proxy.log(), "the complaint")
    bound = {n: machine.ok(f"cat /sys/kernel/config/usb_gadget/nbd-proxy-{n}/UDC") for n in "abcd"}
    used = sorted(filter(None, bound.values()))
    assert len(set(used)) == len(used) >= 2 and bound["d"] == "" and bound["c"] in ("", "dummy_udc.1")
    assert "no USB device controller that matches usb-controller = none*" in proxy.error(f"insert d {url(nginx)}")
    assert proxy.slot(3)["state"] == "empty"
    for name in "abc":
        if not bound[name]:
            assert "busy" in proxy.error(f"insert {name} {url(nginx)}")


def test_a_server_that_is_away_for_a_while_makes_a_read_late_but_right(machine, proxy, own_nginx, image):
    proxy.start()
    proxy.ok(f"insert 0 {url(own_nginx)}")
    name = drive(machine, "sr")
    with_medium(machine, name)
    own_nginx.stop()
    machine.ok(f"(dd if=/dev/{name} bs=64k 2>/dev/null | sha256sum >/tmp/sum; echo done >>/tmp/sum) >/dev/null 2>&1 &")
    time.sleep(3)  # nothing comes
    assert "done" not in machine.run("cat /tmp/sum")[1]
    own_nginx.start()
    wait_for(lambda: "done" in machine.run("cat /tmp/sum")[1], "the late read", 60)
    assert machine.ok("cat /tmp/sum").split()[0] == sha(image)


def test_a_server_that_is_away_for_long_is_a_medium_error_and_no_more(machine, proxy, own_nginx, image):
    proxy.start(http=FAST)
    proxy.ok(f"insert 0 {url(own_nginx)}")
    name = drive(machine, "sr")
    with_medium(machine, name)
    own_nginx.stop()
    begin = time.monotonic()
    code, out = machine.run(f"dd if=/dev/{name} bs=2048 skip=9000 count=1 of=/dev/null")
    assert code != 0 and "Input/output error" in out and time.monotonic() - begin < 60
    assert proxy.slot()["state"] == "ready"
    own_nginx.start()
    wait_for(lambda: machine.run(f"dd if=/dev/{name} bs=2048 skip=9000 count=1 of=/dev/null")[0] == 0, "the next read", 30)
    drop_caches(machine)
    assert digest(machine, name) == sha(image)


def read_slowly(machine, name):
    """Reads the whole drive in the background, with a pause now and then."""
    machine.ok(f"rm -f /tmp/sum /tmp/bad; (for i in $(seq 0 23); do dd if=/dev/{name} bs=1M skip=$i count=1 || echo bad >>/tmp/bad; "
               "sleep 0.1; done 2>/dev/null | sha256sum >/tmp/sum.part; mv /tmp/sum.part /tmp/sum) >/dev/null 2>&1 &")


@pytest.mark.parametrize("how", ["KILL", "USR2", "quit --keep"])
def test_a_reader_goes_on_when_the_daemon_is_replaced(machine, proxy, nginx, image, how):
    proxy.start(http=HTTP + "io-timeout = 5s\n")
    proxy.ok(f"insert 0 {url(nginx)}")
    name = drive(machine, "sr")
    with_medium(machine, name)
    wait_for(lambda: "guest.iso" in machine.run("cat /run/nbd-proxy/state.json")[1], "the state file")
    drop_caches(machine)
    read_slowly(machine, name)
    time.sleep(0.7)  # of 2.4 at least
    proxy.ok(how) if how.startswith("quit") else proxy.kill(how)
    wait_for(lambda: not proxy.alive(), "the daemon's end")
    assert machine.run("ls /tmp/sum")[0] != 0, "the reader was ready too soon"
    time.sleep(1)  # nobody is there
    proxy.start()
    wait_for(lambda: machine.run("cat /tmp/sum")[0] == 0, "the reader", 90)
    assert machine.ok("cat /tmp/sum").split()[0] == sha(image), proxy.log()
    assert machine.run("ls /tmp/bad")[0] != 0, "a read failed"
    assert "goes on with the medium" in proxy.log() and "made anew" not in proxy.log()


def test_an_image_that_changed_while_the_daemon_was_away_is_not_gone_on_with(machine, proxy, nginx, www):
    make_image(www / "changing.iso", 4 << 20, seed=1)
    proxy.start(http=FAST)
    proxy.ok(f"insert 0 {url(nginx, 'changing.iso')}")
    wait_for(lambda: "changing.iso" in machine.run("cat /run/nbd-proxy/state.json")[1], "the state file")
    proxy.kill()
    make_image(www / "changing.iso", 4 << 20, seed=2)
    later = time.time() + 10  # nginx's ETag is of the time in seconds, and of the size
    os.utime(www / "changing.iso", (later, later))
    proxy.start()
    wait_for(lambda: "the image has changed" in proxy.log(), "the refusal")
    wait_for(lambda: proxy.slot()["state"] == "empty" and machine.run("cat /sys/block/nbd0/pid")[0] != 0, "the sweep")
    proxy.ok(f"insert 0 {url(nginx, 'changing.iso')}")
    name = drive(machine, "sr")
    with_medium(machine, name)
    assert digest(machine, name) == sha(www / "changing.iso")


def test_a_host_is_freed_when_no_daemon_comes_back(machine, proxy, nginx, image):
    proxy.start(CD + "restart-grace = 3s\n")
    proxy.ok(f"insert cd {url(nginx)}")
    name = drive(machine, "sr")
    with_medium(machine, name)
    proxy.kill()
    begin = time.monotonic()
    code, out = machine.run(f"dd if=/dev/{name} bs=2048 skip=8000 count=1 of=/dev/null")
    assert code != 0 and "Input/output error" in out and time.monotonic() - begin < 90
    machine.ok("rm /run/nbd-proxy/state.json")  # as after a restart that forgot: what is left is swept
    proxy.start()
    wait_for(lambda: machine.run("cat /sys/block/nbd0/pid")[0] != 0, "the sweep")
    proxy.ok(f"insert cd {url(nginx)}")
    name = drive(machine, "sr")
    with_medium(machine, name)
    assert digest(machine, name) == sha(image)


def test_a_daemon_that_hangs_loses_its_connections_and_gets_new_ones(machine, proxy, nginx, image):
    proxy.start(CD + "io-timeout = 1s\nrestart-grace = 60s\n")
    proxy.ok(f"insert cd {url(nginx)}")
    name = drive(machine, "sr")
    with_medium(machine, name)
    proxy.kill("STOP")
    machine.ok(f"(dd if=/dev/{name} bs=64k 2>/dev/null | sha256sum >/tmp/sum; echo done >>/tmp/sum) >/dev/null 2>&1 &")
    before = machine.console().count("Connection timed out")
    wait_for(lambda: machine.console().count("Connection timed out") > before, "the kernel's patience", 60)
    time.sleep(1)  # its io-timeout, for the other connections
    proxy.kill("CONT")
    wait_for(lambda: "done" in machine.run("cat /tmp/sum")[1], "the read", 60)
    assert "of its connections to us" in proxy.log()
    drop_caches(machine)
    assert digest(machine, name) == sha(image)


def test_a_device_of_another_program_is_left_alone(machine, proxy, nginx, image):
    machine.ok(f"mkdir -p /run/other; cat >/tmp/conf2 <<'END'\n[daemon]\nruntime-dir = /run/other\n{HTTP}[slot other]\nattach = nbd\n"
               "END\nnbd-proxy --config /tmp/conf2 >/tmp/log2 2>&1 </dev/null & echo $! >/tmp/pid2; "
               "for i in $(seq 120); do [ -S /run/other/control.sock ] && break; sleep 0.5; done; "
               f"echo 'insert other {url(nginx)}' | socat -t 60 - UNIX-CONNECT:/run/other/control.sock")
    proxy.start(CD + "attach = nbd\n")
    assert "in use by another program" in proxy.error(f"insert cd {url(nginx)}")
    assert machine.ok("cat /sys/block/nbd0/backend") == "nbd-proxy:other"
    assert digest(machine, "nbd0") == sha(image)
    machine.ok("kill $(cat /tmp/pid2); while kill -0 $(cat /tmp/pid2) 2>/dev/null; do sleep 0.1; done")


def test_a_writable_file_is_a_stick_and_a_flush_survives_a_kill(machine, proxy):
    """The host's fsync goes all the way: SYNCHRONIZE CACHE, the device's FLUSH, the file. No `sync` here: the guest is host and
    BMC at once, and that would write out the BMC's side as well."""
    proxy.start(STICK + "writable = yes\n")
    machine.ok("truncate -s 32M /tmp/stick.img; chown nbd-proxy /tmp/stick.img")
    proxy.ok("insert stick /tmp/stick.img")
    name = drive(machine, "sd")
    with_medium(machine, name, 32 << 20)
    assert machine.ok(f"cat /sys/block/nbd0/queue/write_cache /sys/block/{name}/queue/write_cache").splitlines() == ["write back"] * 2
    machine.ok(f"/usr/bin/mke2fs -q -t ext4 /dev/{name} && mkdir -p /mnt && mount -t ext4 /dev/{name} /mnt")
    before = proxy.slot()["clients"]["others"]
    machine.ok("dd if=/dev/urandom of=/mnt/file bs=64k count=40 conv=fsync 2>/dev/null; sha256sum </mnt/file >/tmp/want")
    assert proxy.slot()["clients"]["others"] > before, "no FLUSH came"
    proxy.kill()  # and what is in the file now is what a power cut would leave
    machine.ok("cp /tmp/stick.img /tmp/copy.img")
    # e2fsck replays the journal first; debugfs would look at the bitmaps before, which may be half written.
    machine.ok("/usr/bin/e2fsck -E journal_only -y /tmp/copy.img >/tmp/fsck 2>&1")
    got = machine.ok("/usr/bin/debugfs -R 'cat /file' /tmp/copy.img 2>/dev/null | sha256sum")
    assert got == machine.ok("cat /tmp/want"), machine.run(
        "cat /tmp/fsck; for c in features 'ls -l /' logdump; do /usr/bin/debugfs -R \"$c\" /tmp/copy.img 2>&1; done; dmesg | tail -20")[1]
    machine.ok("rm /tmp/copy.img /tmp/fsck")
    proxy.start()
    wait_for(lambda: proxy.slot()["state"] == "ready", "the medium of before")
    machine.ok("echo more >/mnt/more && umount /mnt", 60)
    proxy.ok("eject stick")
    assert machine.ok("/usr/bin/debugfs -R 'cat /more' /tmp/stick.img 2>/dev/null") == "more"
    machine.ok("rm /tmp/stick.img")


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_the_host_writes_to_an_overlay_on_an_image_from_the_web(machine, proxy, nginx, www, kind):
    machine.ok("mkdir -p /tmp/overlays; chown nbd-proxy /tmp/overlays; rm -f /tmp/overlays/*")
    file = www / "stick.img"
    if not file.exists():
        with open(file, "wb") as f:
            f.truncate(16 << 20)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-F", file], check=True, env={**os.environ, "PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})
    before = sha(file)
    proxy.start(STICK + f"overlay = {kind}\noverlay-directory = /tmp/overlays\noverlay-keep = {'yes' if kind == 'file' else 'no'}\n")
    proxy.ok(f"insert stick {url(nginx, 'stick.img')}")
    name = drive(machine, "sd")
    with_medium(machine, name, 16 << 20)
    machine.ok(f"mount -t ext4 /dev/{name} /mnt && dd if=/dev/urandom of=/mnt/file bs=64k count=20 2>/dev/null && "
               "sha256sum </mnt/file >/tmp/want && umount /mnt", 60)
    drop_caches(machine)
    machine.ok(f"mount -t ext4 /dev/{name} /mnt && sha256sum </mnt/file >/tmp/got; umount /mnt; cmp /tmp/got /tmp/want")
    assert proxy.slot()["overlay_used"] > 20 << 16
    if kind == "file":  # as at a power cut, but for what was flushed
        proxy.kill()
        proxy.start()
        wait_for(lambda: proxy.slot()["state"] == "ready", "the medium of before")
        drop_caches(machine)
        machine.ok(f"mount -t ext4 /dev/{name} /mnt && sha256sum </mnt/file >/tmp/got; umount /mnt; cmp /tmp/got /tmp/want")
    proxy.ok("eject stick")
    assert sha(file) == before


def test_a_read_only_stick_refuses_writes(machine, proxy, nginx, image):
    proxy.start(STICK)
    proxy.ok(f"insert stick {url(nginx)}")
    name = drive(machine, "sd")
    with_medium(machine, name, 24 << 20)
    assert machine.ok(f"cat /sys/block/{name}/ro") == "1"
    assert machine.run(f"dd if=/dev/zero of=/dev/{name} bs=512 count=1 conv=fsync")[0] != 0
    assert digest(machine, name) == sha(image)


def test_an_eject_does_not_wait_for_a_dead_server(machine, proxy, own_nginx, image):
    proxy.start()
    proxy.ok(f"insert 0 {url(own_nginx)}")
    name = drive(machine, "sr")
    with_medium(machine, name)
    own_nginx.stop()
    machine.ok(f"dd if=/dev/{name} bs=2048 skip=9000 count=1 of=/dev/null >/dev/null 2>&1 & sleep 0.5")
    begin = time.monotonic()
    proxy.ok("eject 0")
    assert time.monotonic() - begin < 15
    own_nginx.start()


def test_missing_modules_are_said(machine, proxy, nginx, image):
    machine.ok("rmmod nbd")
    try:
        proxy.start("[slot a]\nattach = nbd\n[slot b]\n")
        assert "modprobe nbd" in proxy.error(f"insert a {url(nginx)}")
        proxy.ok(f"insert b {url(nginx)}")
        assert proxy.slot(1)["attach"] == "socket"
        proxy.stop()
    finally:
        machine.ok("insmod /modules/nbd.ko max_part=0 nbds_max=4")
