"""pyftpdlib's server, in a process of its own; its setup is in JSON (see PyFtpd in ftpd.py)."""
import json
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer


class Implicit(TLS_FTPHandler):
    """TLS comes before the greeting."""

    def handle(self):
        self.secure_connection(self.get_ssl_context() if hasattr(self, "get_ssl_context") else self.ssl_context)

    def handle_ssl_established(self):
        super().handle()


def serve(setup):
    kind = {None: FTPHandler, "explicit": TLS_FTPHandler, "implicit": Implicit}[setup["tls"]]

    class Handler(kind):
        proto_cmds = {name: row for name, row in kind.proto_cmds.items() if name not in setup["without"]}

    if setup["tls"]:
        Handler.certfile, Handler.keyfile = setup["pair"]
        Handler.tls_control_required = Handler.tls_data_required = setup["required"]
    authorizer = DummyAuthorizer()
    authorizer.add_user(setup["user"], setup["password"], setup["root"], perm="elr")
    if setup["anonymous"]:
        authorizer.add_anonymous(setup["root"])
    Handler.authorizer, Handler.auth_failed_timeout = authorizer, 0
    FTPServer(("127.0.0.1", setup["port"]), Handler).serve_forever()


serve(json.loads(sys.argv[1]))
