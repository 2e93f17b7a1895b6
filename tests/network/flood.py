"""Strangers that hold connections to ports, send some first bytes, and reconnect when closed."""

import selectors
import socket
import ssl
import threading
from contextlib import contextmanager


def client_hello():
    """Return a real TLS client's first bytes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake with only one side finished")


FIRST_WORDS = {"silent": b"", "one byte": b"\x16", "hello": client_hello()}


class Flood:
    """`count` connections to each port, kept open by a thread."""

    def __init__(self, ports, count, words=b""):
        self._words = words
        self._wanted = [port for port in ports for _ in range(count)]
        self._held = selectors.DefaultSelector()
        self._is_over = threading.Event()
        self.filled = threading.Event()
        """Set once every connection has been open."""
        self.opened = 0

    def run(self):
        while not self._is_over.is_set():
            again, self._wanted = self._wanted, []
            for port in again:
                self._open(port)
            if len(self._wanted) == 0:
                self.filled.set()
            for key, _ in self._held.select(timeout=0.05):
                self._hear(key)
        for key in list(self._held.get_map().values()):
            key.fileobj.close()
        self._held.close()

    def _open(self, port):
        link = socket.socket()
        try:
            link.settimeout(1)
            link.connect(("127.0.0.1", port))
            link.setblocking(False)
            if self._words:
                link.send(self._words)
        except OSError:  # the node is not there, or its queue is full
            link.close()
            self._wanted.append(port)
            return
        self.opened += 1
        self._held.register(link, selectors.EVENT_READ, port)

    def _hear(self, key):
        try:
            if key.fileobj.recv(65_536):
                return
        except OSError:
            pass
        self._held.unregister(key.fileobj)
        key.fileobj.close()
        self._wanted.append(key.data)

    def end(self):
        self._is_over.set()


@contextmanager
def flood(ports, count, words=b""):
    """Hold the connections open."""
    found = Flood(ports, count, words)
    thread = threading.Thread(target=found.run)
    thread.start()
    try:
        assert found.filled.wait(60), "the connections are there"
        yield found
    finally:
        found.end()
        thread.join()
