"""TLS over a non-blocking socket, as a trio stream.

Votes are small and many: `trio.SSLStream` takes some ten times the CPU that OpenSSL itself takes
for one. Here a read or a write is one call of OpenSSL, and waits only if the socket is not
ready; `send_now` does not even change tasks.
"""

from __future__ import annotations

import socket
import ssl

import trio

_LOST = (OSError, ValueError)
"""What OpenSSL and the socket raise once a connection is gone, `SSLError` included."""


class TlsStream(trio.abc.Stream):
    """One connection; at most one task reads and one writes.

    Raises:
        trio.BrokenResourceError: the connection is lost, or what came over it is not TLS.
        trio.ClosedResourceError: it has been closed here.
    """

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._socket = connection

    @classmethod
    async def negotiate(
        cls,
        stream: trio.SocketStream,
        context: ssl.SSLContext,
        *,
        is_server: bool,
        turn: trio.Lock | None = None,
    ) -> TlsStream:
        """Take over a connection: agree on keys and check the peer's certificate.

        Connections with a common `turn` do the steps of it, which cost CPU, one after another.
        """
        raw = socket.socket(fileno=stream.socket.detach())
        raw.setblocking(False)
        try:
            connection = context.wrap_socket(
                raw, server_side=is_server, do_handshake_on_connect=False
            )
        except _LOST as error:
            raw.close()
            raise trio.BrokenResourceError(str(error)) from error
        secured = cls(connection)
        try:
            await secured._shake_hands(turn or trio.Lock())
        except BaseException:
            connection.close()
            raise
        return secured

    async def _shake_hands(self, turn: trio.Lock) -> None:
        while True:
            try:
                async with turn:
                    return self._socket.do_handshake()
            except ssl.SSLWantReadError:
                await self._wait_readable()
            except ssl.SSLWantWriteError:
                await self._wait_writable()
            except _LOST as error:
                raise trio.BrokenResourceError(str(error)) from error

    def get_certificate(self) -> bytes | None:
        """Return the peer's certificate, DER encoded."""
        return self._socket.getpeercert(binary_form=True)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what has come, at least a byte; nothing at the end of the stream."""
        while True:
            try:
                return self._socket.recv(max_bytes or 65_536)
            except ssl.SSLWantReadError:
                await self._wait_readable()
            except ssl.SSLWantWriteError:
                await self._wait_writable()
            except ssl.SSLZeroReturnError:
                return b""
            except _LOST as error:
                raise self._lost(error) from error

    def send_now(self, data: bytes | memoryview) -> int:
        """Send what goes without waiting; return how many bytes went.

        After less than everything the next bytes sent must be the rest.
        """
        try:
            return self._socket.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except _LOST as error:
            raise self._lost(error) from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything."""
        rest = memoryview(data)
        while rest:
            sent = self.send_now(rest)
            rest = rest[sent:]
            if not sent:
                await self._wait_writable()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the socket takes bytes."""
        await self._wait_writable()

    async def aclose(self) -> None:
        """Close the connection."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
        await trio.lowlevel.checkpoint()

    async def _wait_readable(self) -> None:
        self._require_open()
        await trio.lowlevel.wait_readable(self._socket)

    async def _wait_writable(self) -> None:
        self._require_open()
        await trio.lowlevel.wait_writable(self._socket)

    def _require_open(self) -> None:
        if self._socket.fileno() < 0:
            raise trio.ClosedResourceError

    def _lost(self, error: Exception) -> Exception:
        if self._socket.fileno() < 0:
            return trio.ClosedResourceError()
        return trio.BrokenResourceError(str(error))
