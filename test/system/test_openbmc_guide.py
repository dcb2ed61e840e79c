"""Each command of OpenBMC's 'Virtual Media Guide' as it is printed there, at the names, ports and addresses that it has: a BMC
and the images' servers in networks of their own, the BMC's root with its password, and conf/openbmc.conf. What the guide
runs on hardware (configfs, systemd) is tested elsewhere."""
import errno
import json
import os
import pathlib
import random
import shutil
import subprocess
import tempfile

import nbd
import pytest

import machine
from conftest import TOP, Daemon, binary, openssl, wait_for
from test_host import Hook
from test_nbd import handle
from test_pam import has_pam
from test_rights import NOBODY


def missing():
    lacks = [tool for tool in ("nginx", "ganesha.nfsd", "rpcbind", "smbd", "pdbedit", "jq", "curl", "ip") if not shutil.which(tool)]
    return machine.missing() or (f"needs {' '.join(lacks)}" if lacks else None if has_pam else "built without PAM")


pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

SLOT = "https://localhost/redfish/v1/Managers/bmc/VirtualMedia/Slot_0"
LIST = """curl -k -u root:0penBmc \\
    https://localhost/redfish/v1/Managers/bmc/VirtualMedia"""
MEMBERS = LIST + " | jq '.Members'"
PATCH = """curl -k -u root:0penBmc -X PATCH \\
    -H "Content-Type: application/json" \\
    -d '%s' \\
    """
HTTPS = PATCH % """{
        "Image": "https://example.com/images/ubuntu-22.04.iso",
        "TransferProtocolType": "HTTPS",
        "UserName": "",
        "Password": "",
        "WriteProtected": true,
        "Inserted": true
    }""" + SLOT
NFS = PATCH % """{
        "Image": "nfs://192.168.1.100/exports/images/boot.iso",
        "Inserted": true
    }""" + SLOT
SMB = PATCH % """{
        "Image": "smb://192.168.1.100/share/images/install.iso",
        "UserName": "user",
        "Password": "password",
        "Inserted": true
    }""" + SLOT
STATUS = f"curl -k -u root:0penBmc \\\n    {SLOT}"
UNMOUNT = PATCH % '{"Inserted": false}' + SLOT
EJECT = f"curl -k -u root:0penBmc -X POST \\\n    {SLOT}/Actions/VirtualMedia.EjectMedia"
BOOT = PATCH % """{
        "Boot": {
            "BootSourceOverrideTarget": "Cd",
            "BootSourceOverrideEnabled": "Once"
        }
    }""" + "https://localhost/redfish/v1/Systems/system"
ONCE = [
    PATCH % '{"Image": "https://server/ubuntu.iso", "Inserted": true}' + SLOT,
    PATCH % '{"Boot": {"BootSourceOverrideTarget": "Cd", "BootSourceOverrideEnabled": "Once"}}' + "https://localhost/redfish/v1/Systems/system",
    """curl -k -u root:0penBmc -X POST \\
    -H "Content-Type: application/json" \\
    -d '{"ResetType": "ForceRestart"}' \\
    https://localhost/redfish/v1/Systems/system/Actions/ComputerSystem.Reset"""]
ROLES = """curl -k -u root:0penBmc \\
    https://localhost/redfish/v1/AccountService/Roles"""
PROTECTED = PATCH % """{
        "Image": "https://server/image.iso",
        "WriteProtected": true,
        "Inserted": true
    }""" + SLOT
REACHED = ["curl -k https://example.com/image.iso -o /dev/null", "curl https://server/image.iso | sha256sum"]

SIZE = 3 << 20
IMAGES = ("www/images/ubuntu-22.04.iso", "www/ubuntu.iso", "www/image.iso", "exports/boot.iso", "share/images/install.iso")

GANESHA = """
NFS_CORE_PARAM {{ Protocols = 3, 4; Enable_NLM = false; Enable_RQUOTA = false; mount_path_pseudo = true; fsid_device = true;
                  Allow_Set_Io_Flusher_Fail = true; }}
NFSv4 {{ Graceless = true; }}
EXPORT {{ Export_Id = 7; Path = {folder}/exports; Pseudo = /exports/images; Access_Type = RO; Squash = No_Root_Squash;
          SecType = sys; Protocols = 3, 4; FSAL {{ Name = VFS; }} }}
"""
SAMBA = """[global]
{places}
passdb backend = tdbsam:{folder}/samba/passdb.tdb
smb ports = 445
server role = standalone server
disable netbios = yes
load printers = no
printcap name = /dev/null
disable spoolss = yes
[share]
path = {folder}/share
valid users = user
force user = root
read only = yes
"""
NGINX = """user root; daemon off; pid {folder}/nginx/pid; events {{}}
http {{ {temp} access_log off; server {{ listen 192.168.1.100:443 ssl; root {folder}/www;
ssl_certificate {folder}/example.pem; ssl_certificate_key {folder}/example.key; }} }}"""


class Servers:
    """At 192.168.1.100, with the ports that everybody knows."""

    def __init__(self, system, folder, certificates):
        self.folder = folder
        self.host = machine.Host(system, "mkdir -p /run/ganesha /run/samba /var/lib/nfs/ganesha && rpcbind")
        self.processes = []
        for name in IMAGES:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(random.Random(name).randbytes(SIZE))
        for name in ("nginx", "samba"):
            (folder / name).mkdir()
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=example.com", "-keyout", folder / "example.key", "-out",
                folder / "example.csr")
        (folder / "ext").write_text("subjectAltName=DNS:example.com,DNS:server\n")
        openssl("x509", "-req", "-in", folder / "example.csr", "-CA", certificates / "ca.pem", "-CAkey", certificates / "ca.key",
                "-CAcreateserial", "-CAserial", folder / "serial", "-days", 30, "-extfile", folder / "ext", "-out",
                folder / "example.pem")

    def start(self):
        folder = self.folder
        temp = " ".join(f"{kind}_temp_path {folder}/nginx/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        places = "\n".join(f"{name} = {folder}/samba" for name in
                           ("private dir", "lock directory", "state directory", "pid directory", "cache directory", "ncalrpc dir"))
        for name, text in (("nginx.conf", NGINX), ("ganesha.conf", GANESHA), ("smb.conf", SAMBA)):
            (folder / name).write_text(text.format(folder=folder, temp=temp, places=places))
        self.host.run("pdbedit", "-s", folder / "smb.conf", "-a", "-t", "-u", "user", input="password\npassword\n")
        for command in (["nginx", "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "nginx.log"],
                        ["ganesha.nfsd", "-F", "-f", folder / "ganesha.conf", "-L", folder / "ganesha.log", "-p", folder / "ganesha.pid"],
                        ["smbd", "--foreground", "--no-process-group", f"--configfile={folder}/smb.conf", f"--log-basename={folder}/samba"]):
            self.processes.append(subprocess.Popen(self.host.inside(*command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                                   stderr=subprocess.DEVNULL, start_new_session=True))
        wait_for(self.answer, "the images' servers", 60)

    def answer(self):
        assert all(process.poll() is None for process in self.processes)
        probe = "import socket; [socket.create_connection(('192.168.1.100', p), 1) for p in (443, 445, 2049)]"
        return subprocess.run(self.host.inside("python3", "-c", probe), stderr=subprocess.DEVNULL).returncode == 0

    def close(self):
        for process in self.processes:
            os.killpg(process.pid, 9)
            process.wait()
        self.host.close()


class Bmc:
    """The BMC, where the commands are typed, and its daemon."""

    def __init__(self, system, folder):
        self.folder, self.hook = folder, Hook(folder)
        self.host = machine.Host(system)
        self.system = system

    def start(self, *more):
        run = self.folder / "run"
        run.mkdir(mode=0o755)
        (self.folder / "accounts").mkdir(mode=0o700)
        os.chown(self.folder / "accounts", NOBODY.pw_uid, NOBODY.pw_gid)
        inside = " ".join(self.host.inside(binary()))
        os.environ["NBD_PROXY"] = str(self.system.script("nbd-proxy-on-bmc", f'exec {inside} "$@"'))
        self.daemon = Daemon(run, config=(TOP / "conf/openbmc.conf").read_text() + f"""
[web]
listen = 0.0.0.0:443
accounts = pam file
users-file = {self.folder}/accounts/users
password-min-length = 7
[host]
hook = {self.hook.path}
""", *more)

    def type(self, command):
        """What it prints; no answer of it is an error."""
        out = self.host.run("sh", "-c", command)
        assert '"error"' not in out, (command, out)
        return out

    def status(self):
        return json.loads(self.type(STATUS))

    def stop(self):
        self.daemon.stop()


@pytest.fixture(scope="module")
def folder_of_all():
    path = pathlib.Path(tempfile.mkdtemp(prefix="np-guide-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def bmc(folder_of_all, certificates):
    folder = folder_of_all
    system = machine.System(folder)
    (system.etc / "hosts").write_text("127.0.0.1 localhost\n192.168.1.100 example.com server\n")
    with (system.etc / "ssl/certs/ca-certificates.crt").open("a") as bundle:
        bundle.write((certificates / "ca.pem").read_text())
    system.run("usermod", "-a", "-G", "priv-admin", "root")
    system.password("root", "0penBmc")
    system.run("useradd", "-M", "-N", "user")
    before = os.environ.get("NBD_PROXY")
    servers, it = Servers(system, folder, certificates), Bmc(system, folder)
    try:
        it.host.reaches(servers.host, "192.168.1.1", "192.168.1.100")
        servers.start()
        it.start("http.allow-local=no", "daemon.user=nobody")
        yield it
        it.stop()
    finally:
        os.environ.pop("NBD_PROXY")
        if before is not None:
            os.environ["NBD_PROXY"] = before
        it.host.close()
        servers.close()


def is_in(bmc, name, image, protocol):
    """Slot_0 shows it as the guide does, and the host reads it."""
    path = bmc.folder / name
    shown = bmc.status()
    wanted = {"@odata.id": SLOT.removeprefix("https://localhost"), "Id": "Slot_0", "Name": "VirtualMedia", "MediaTypes": ["CD", "DVD"],
              "Image": image, "ImageName": path.name, "Inserted": True, "WriteProtected": True, "ConnectedVia": "URI",
              "TransferProtocolType": protocol}
    assert {key: shown[key] for key in wanted} == wanted
    h = handle(bmc.daemon.uri())
    assert h.pread(SIZE, 0) == path.read_bytes()
    h.shutdown()


def test_list(bmc):
    members = [{"@odata.id": f"/redfish/v1/Managers/bmc/VirtualMedia/Slot_{n}"} for n in (0, 1)]
    assert json.loads(bmc.type(LIST))["Members"] == members
    assert json.loads(bmc.type(MEMBERS)) == members


def test_mounts_one_after_the_other(bmc):
    """Without an eject between them, as the guide has it."""
    bmc.type(HTTPS)
    is_in(bmc, "www/images/ubuntu-22.04.iso", "https://example.com/images/ubuntu-22.04.iso", "HTTPS")
    bmc.type(NFS)
    is_in(bmc, "exports/boot.iso", "nfs://192.168.1.100/exports/images/boot.iso", "NFS")
    bmc.type(SMB)
    is_in(bmc, "share/images/install.iso", "smb://192.168.1.100/share/images/install.iso", "CIFS")
    bmc.type(UNMOUNT)
    assert not bmc.status()["Inserted"] and bmc.daemon.slot()["state"] == "empty"
    bmc.type(HTTPS)
    bmc.type(EJECT)
    assert not bmc.status()["Inserted"]
    bmc.type(EJECT)  # as the guide does before it stops the service, whatever is in


def test_boot_once(bmc):
    bmc.hook.calls()
    bmc.type(BOOT)
    assert bmc.hook.calls() == ["boot Cd Once"]
    for command in ONCE:
        bmc.type(command)
    assert bmc.hook.calls() == ["boot Cd Once", "reset ForceRestart"]
    is_in(bmc, "www/ubuntu.iso", "https://server/ubuntu.iso", "HTTPS")
    bmc.type(PROTECTED)
    is_in(bmc, "www/image.iso", "https://server/image.iso", "HTTPS")
    bmc.type(EJECT)


def test_the_rest(bmc):
    for command in REACHED:
        bmc.type(command)
    roles = json.loads(bmc.type(ROLES))["Members"]
    assert {r["@odata.id"].rpartition("/")[2] for r in roles} == {"Administrator", "Operator", "ReadOnly"}


def test_a_password_of_seven_characters_is_for_others_too(bmc):
    """root's, which is the system's, was never asked how long it is."""
    assert json.loads(bmc.type(ROLES.replace("/Roles", "")))["MinPasswordLength"] == 7
    account = '{"UserName": "second", "Password": "%s", "RoleId": "Operator"}'
    add = (PATCH % account).replace("PATCH", "POST") + "https://localhost/redfish/v1/AccountService/Accounts"
    assert "PropertyValueIncorrect" in bmc.host.run("sh", "-c", add % "0penBm")
    bmc.type(add % "0penBmc")
    assert json.loads(bmc.type(LIST.replace("root:", "second:")))["Members@odata.count"] == 2


def test_slot_1_is_a_stick_that_can_be_written_to(bmc):
    """And is not unless it is asked for; what is written is bounded, and gone with the medium."""
    slot_1, path = SLOT.replace("Slot_0", "Slot_1"), bmc.folder / "www/image.iso"
    status = STATUS.replace("Slot_0", "Slot_1")
    insert = PATCH % '{"Image": "https://server/image.iso", "Inserted": true%s}' + slot_1
    assert json.loads(bmc.type(status))["MediaTypes"] == ["USBStick"]
    bmc.type(insert % "")
    assert json.loads(bmc.type(status))["WriteProtected"] and bmc.daemon.slot(1)["overlay_in"] is None
    bmc.type(insert % ', "WriteProtected": false')
    assert not json.loads(bmc.type(status))["WriteProtected"]
    assert bmc.daemon.slot(1)["overlay_in"] == "memory" and bmc.daemon.slot(1)["overlay_bound"] == 16 << 20
    assert "overlay: 0 of 16777216 in memory, thrown away at the eject" in bmc.daemon.ok("stats 1")
    h = handle(bmc.daemon.uri("slot1"))
    h.pwrite(b"written by the host", 4000)
    h.flush()
    data = path.read_bytes()
    assert h.pread(8192, 0) == data[:4000] + b"written by the host" + data[4019:8192]
    h.shutdown()
    assert path.read_bytes() == data
    bmc.type(insert % ', "WriteProtected": true')  # another wish: another medium
    h = handle(bmc.daemon.uri("slot1"))
    assert h.pread(8192, 0) == data[:8192] and h.is_read_only()
    with pytest.raises(nbd.Error) as refused:
        h.pwrite(b"x", 0)
    assert refused.value.errnum in (errno.EPERM, errno.EROFS, errno.EINVAL)
    h.shutdown()
    bmc.type(EJECT.replace("Slot_0", "Slot_1"))
