"""FTP servers: pyftpdlib in a process of its own, vsftpd, and one that lies on command. Also a relay that may hold back."""
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading

import pytest

from conftest import free_port, wait_for
from relay import connections

USER, PASSWORD = "alice", "CANARY-PASSWORD"


def answers(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), 1).close()
        return True
    except OSError:
        return False


class Server:
    """A process that listens on `port`; stopped and started again at will."""

    def start(self):
        self.log = open(self.place / "server.log", "ab")
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_for(self.is_up, self.command[0])

    def is_up(self):
        assert self.process.poll() is None, (self.place / "server.log").read_text()
        return answers(self.port)

    def stop(self, number=signal.SIGKILL):
        """What serves connections that are open already ends too, as at a crash of the machine."""
        if self.process.poll() is None:
            for pid in children(self.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            self.process.send_signal(number)
            self.process.wait(20)
        self.log.close()

    def url(self, path="image.iso", host="127.0.0.1"):
        return f"{self.scheme}://{host}:{self.port}/{path}"

    def said(self):
        return (self.place / "server.log").read_text(errors="replace")


def children(pid):
    """All of them, deepest first."""
    result = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
        for child in map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            result += children(child) + [child]
    return result


class PyFtpd(Server):
    """`tls`: None, "explicit" or "implicit". `without`: commands that it does not know."""

    def __init__(self, place, root, tls=None, pair=None, without=(), control_required=False, anonymous=True):
        pytest.importorskip("pyftpdlib", reason="needs python3-pyftpdlib")
        self.place, self.port, self.scheme = place, free_port(), "ftps" if tls == "implicit" else "ftp"
        setup = {"port": self.port, "root": str(root), "tls": tls, "pair": list(map(str, pair or ())), "without": list(without),
                 "required": control_required, "anonymous": anonymous, "user": USER, "password": PASSWORD}
        self.command = [sys.executable, str(pathlib.Path(__file__).with_name("ftpd_process.py")), json.dumps(setup)]
        self.start()


class Vsftpd(Server):
    """For anonymous users, who must use TLS with one session for both connections if there is TLS."""

    def __init__(self, place, root, tls=None, pair=None):
        self.place, self.port, self.scheme = place, free_port(), "ftps" if tls == "implicit" else "ftp"
        lines = ["listen=YES", "listen_address=127.0.0.1", f"listen_port={self.port}", "background=NO", "anonymous_enable=YES",
                 "local_enable=NO", "run_as_launching_user=YES", f"anon_root={root}", "seccomp_sandbox=NO", "no_anon_password=YES",
                 "xferlog_enable=NO", f"secure_chroot_dir={place}", "anon_world_readable_only=NO"]
        if tls:
            lines += ["ssl_enable=YES", f"rsa_cert_file={pair[0]}", f"rsa_private_key_file={pair[1]}", "allow_anon_ssl=YES",
                      "force_anon_logins_ssl=YES", "force_anon_data_ssl=YES", "require_ssl_reuse=YES", "ssl_tlsv1=YES",
                      "ssl_ciphers=HIGH", f"implicit_ssl={'YES' if tls == 'implicit' else 'NO'}"]
        (place / "conf").write_text("\n".join(lines) + "\n")
        self.command = ["/usr/sbin/vsftpd", str(place / "conf")]
        self.start()


class FtpLiar:
    """Honest unless told otherwise. `say` has replies in place of the right ones, by command ("" is the greeting);
    `body(offset)` is what a transfer sends, or parts of it; `after` the reply to it; `port_said` the port that passive replies name. Of more than `limit` connections at a time it says `busy`."""

    def __init__(self, image):
        self.image, self.commands, self.connections, self.data_connections = image, [], 0, 0
        self.say, self.after, self.port_said = {}, "226 done", None
        self.body = lambda offset: self.image[offset:]
        self.modified = "20240102030405"
        self.limit, self.busy, self.alive = None, "421 too many", 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.open, self.ended = [], threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def url(self, path="image.iso"):
        return f"ftp://127.0.0.1:{self.port}/{path}"

    def accept(self):
        for control in connections(self.listener):
            self.connections += 1
            self.open.append(control)
            threading.Thread(target=self.serve, args=(control,), daemon=True).start()

    def serve(self, control):
        self.alive += 1
        try:
            Session(self, control).run(self.limit is not None and self.alive > self.limit)
        except OSError:
            pass
        finally:
            self.alive -= 1
            control.close()

    def seen(self, word):
        return [c for c in self.commands if c.split(" ")[0] == word]

    def stop(self):
        self.ended.set()
        for s in [self.listener, *self.open]:
            s.close()


class Session:
    def __init__(self, liar, control):
        self.liar, self.control, self.offset, self.passive = liar, control, 0, None

    def reply(self, text):
        self.control.sendall(text if isinstance(text, bytes) else text.encode("latin-1") + b"\r\n")

    def run(self, refused):
        if refused:
            return self.reply(self.liar.busy)
        self.reply(self.liar.say.get("", "220 ready"))
        buffer = b""
        while data := self.control.recv(4096):
            buffer += data
            while b"\r\n" in buffer:
                line, buffer = buffer.split(b"\r\n", 1)
                line = line.decode("latin-1")
                self.liar.commands.append(line)
                self.obey(*(line.split(" ", 1) + [""])[:2])

    def obey(self, word, argument):
        told = self.liar.say.get(word)
        if callable(told):
            told = told(self, argument)
        if told is not None:
            self.reply(told)
            return
        method = getattr(self, "do_" + word, None)
        self.reply("502 no") if method is None else method(argument)

    def do_USER(self, _):
        self.reply("331 password")

    def do_PASS(self, _):
        self.reply("230 in")

    def do_TYPE(self, _):
        self.reply("200 ok")

    def do_SIZE(self, _):
        self.reply(f"213 {len(self.liar.image)}")

    def do_MDTM(self, _):
        self.reply(f"213 {self.liar.modified}")

    def do_EPSV(self, _):
        self.passive = socket.create_server(("127.0.0.1", 0))
        self.passive.settimeout(10)
        self.reply(f"229 ok (|||{self.liar.port_said or self.passive.getsockname()[1]}|)")

    def do_PASV(self, _):
        self.do_EPSV_quietly()
        port = self.passive.getsockname()[1]
        self.reply(f"227 ok (192,0,2,1,{port // 256},{port % 256})")

    def do_EPSV_quietly(self):
        self.passive = socket.create_server(("127.0.0.1", 0))
        self.passive.settimeout(10)

    def do_REST(self, argument):
        self.offset = int(argument)
        self.reply("350 ok")

    def do_RETR(self, _):
        data, _ = self.passive.accept()
        self.passive.close()
        self.liar.data_connections += 1
        self.liar.open.append(data)
        self.reply("150 here")
        offset, self.offset = self.offset, 0
        try:
            body = self.liar.body(offset) or b""
            for part in [body] if isinstance(body, bytes) else body:
                data.sendall(part)
            after = self.liar.after
        except OSError:
            after = "426 cut"
        data.close()
        self.reply(after)
