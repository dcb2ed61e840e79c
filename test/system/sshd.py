"""SSH servers: OpenSSH's with its internal SFTP server, and one of paramiko's that asks for passwords and may lie."""
import os
import pathlib
import socket
import stat
import subprocess
import threading

import paramiko

from conftest import free_port
from ftpd import PASSWORD, USER, Server
from relay import connections


def keygen(path, kind="ed25519", *arguments):
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path), *arguments], check=True)
    return path


def fingerprint(key):
    return subprocess.run(["ssh-keygen", "-lf", str(key) + ".pub"], check=True, capture_output=True, text=True).stdout.split()[1]


class Sshd(Server):
    """It runs as whoever runs the tests; `key` opens it."""

    scheme = "sftp"

    def __init__(self, place, kinds=("ed25519",), extra=()):
        self.place, self.port = place, free_port()
        if os.getuid() == 0:
            pathlib.Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.host_keys = [keygen(place / f"host_{kind}", kind) for kind in kinds]
        self.key = keygen(place / "user_key")
        (place / "authorized").write_text((place / "user_key.pub").read_text())
        lines = [f"Port {self.port}", "ListenAddress 127.0.0.1", *(f"HostKey {key}" for key in self.host_keys), "UsePAM no",
                 f"AuthorizedKeysFile {place}/authorized", "StrictModes no", "PasswordAuthentication no", "PermitRootLogin yes",
                 "PidFile none", "Subsystem sftp internal-sftp", "LogLevel INFO", *extra]
        (place / "conf").write_text("\n".join(lines) + "\n")
        self.command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(place / "conf")]
        self.start()

    def known(self, key=None, name=None):
        """A line of known_hosts."""
        return f"{name or f'[127.0.0.1]:{self.port}'} {' '.join(pathlib.Path(str(key or self.host_keys[0]) + '.pub').read_text().split()[:2])}\n"

    def options(self, **more):
        keys = {"user": user(), "ssh_key": self.key, "ssh_host_key": fingerprint(self.host_keys[0]), "port": self.port, **more}
        return login_options(**keys)


def login_options(port, **keys):
    """Settings for the server at that port: who it is, and who we are for it."""
    ours = ("user", "password", "ssh-key")
    named = {name.replace("_", "-"): value for name, value in keys.items()}
    return [f"credentials.sshd.origin=sftp://127.0.0.1:{port}/"] + [
        f"{'credentials.sshd' if name in ours else 'http'}.{name}={value}" for name, value in named.items()]


def user():
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


class Handle(paramiko.SFTPHandle):
    def __init__(self, liar):
        super().__init__()
        self.liar = liar

    def read(self, offset, length):
        return self.liar.read(offset, length)

    def stat(self):
        return self.liar.attributes()


class Files(paramiko.SFTPServerInterface):
    def __init__(self, server, liar):
        super().__init__(server)
        self.liar = liar

    def open(self, path, flags, attributes):
        self.liar.opened.append(path)
        return self.liar.open_status or Handle(self.liar)


class Login(paramiko.ServerInterface):
    def __init__(self, liar):
        self.liar = liar

    def get_allowed_auths(self, username):
        return self.liar.methods

    def check_auth_password(self, username, password):
        self.liar.logins.append((username, password))
        good = "password" in self.liar.methods and (username, password) == (USER, PASSWORD)
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_auth_interactive(self, username, submethods):
        return paramiko.InteractiveQuery("", "", *self.liar.questions)

    def check_auth_interactive_response(self, responses):
        self.liar.logins.append(tuple(responses))
        return paramiko.AUTH_SUCCESSFUL if list(responses) == [PASSWORD] else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, channel):
        return paramiko.OPEN_SUCCEEDED


class SftpLiar:
    """Honest unless told otherwise: `size`, `modified` and `mode` are what it says of the file, `read` gives its bytes."""

    def __init__(self, image, place):
        self.image, self.logins, self.opened, self.open_status = image, [], [], None
        self.size, self.modified, self.mode = len(image), 1_700_000_000, stat.S_IFREG | 0o644
        self.methods, self.questions = "password", [("Password: ", False)]
        self.read = self.honest
        self.key_path = keygen(place / "liar_host", "ecdsa", "-b", "256")
        self.key = paramiko.ECDSAKey.from_private_key_file(str(self.key_path))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.transports = []
        threading.Thread(target=self.accept, daemon=True).start()

    def honest(self, offset, length):
        return self.image[offset : offset + length]

    def attributes(self):
        a = paramiko.SFTPAttributes()
        a.st_size, a.st_mode, a.st_mtime, a.st_atime = self.size, self.mode, self.modified, self.modified
        return a

    def accept(self):
        for client in connections(self.listener):
            transport = paramiko.Transport(client)
            self.transports.append(transport)
            transport.add_server_key(self.key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Files, self)
            try:
                transport.start_server(server=Login(self))
            except (paramiko.SSHException, EOFError, OSError):
                pass

    def options(self):
        return login_options(self.port, ssh_host_key=fingerprint(self.key_path), user=USER, password=PASSWORD)

    def url(self, path="image.iso"):
        return f"sftp://127.0.0.1:{self.port}/{path}"

    def stop(self):
        self.listener.close()
        for transport in self.transports:
            transport.close()
