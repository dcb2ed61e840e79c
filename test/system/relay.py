"""A relay to a server of this machine, which can make its connections suffer."""
import select
import socket
import threading
import time


def connections(listener):
    """Each that comes, until the listener is closed."""
    while True:
        try:
            yield listener.accept()[0]
        except OSError:
            return


class Relay:
    """Passes connections on, until told otherwise. `mangle(data, toward_server)` may change what passes."""

    def __init__(self, port):
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.holding = False   # nothing passes
        self.mangle = None
        self.connections = 0
        self.forgotten = set() # connections of which nothing passes any more, and nobody is told
        self.sockets = []
        self.ended = False
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        for client in connections(self.listener):
            if self.ended:
                return
            self.connections += 1
            number = self.connections
            server = socket.socket()
            if server.connect_ex(("127.0.0.1", self.target)):
                client.close()
                continue
            self.sockets += [client, server]
            threading.Thread(target=self.serve, args=(client, server, number), daemon=True).start()

    def serve(self, client, server, number):
        try:
            while True:
                for one in select.select([client, server], [], [])[0]:
                    data = one.recv(65536)
                    if number in self.forgotten and data:
                        continue
                    if number in self.forgotten:
                        return
                    while self.holding:
                        time.sleep(0.01)
                    if self.mangle:
                        data = self.mangle(data, one is client)
                    if not data:
                        raise OSError
                    (server if one is client else client).sendall(data)
        except (OSError, ValueError):
            client.close()
            server.close()

    def forget(self):
        """All connections that there are, as a firewall or an address translator does: those that come are well."""
        self.forgotten.update(range(1, self.connections + 1))

    def cut(self):
        """Breaks all connections."""
        for one in self.sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.sockets.clear()

    def stop(self):
        self.ended = True
        self.holding = False
        self.listener.close()
        self.cut()
