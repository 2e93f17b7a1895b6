"""One link to one node: a writer that serves three bounded queues, a reader of frames.

Small frames leave at once if nothing waits before them and the socket takes them; only what is
left waits in a queue for the writer, which puts many frames into one write.
A queue that is full drops its oldest frame (votes and status are asked for again; transactions
are gossiped anew by others), so a peer that does not read costs bounded memory and never
blocks this node. A link that is silent for `SILENCE_S` is closed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

import trio

from lowu.node.errors import BadInput
from lowu.node.gateway.framing import (
    FRAME_PRIORITY,
    MIB,
    Frame,
    FrameDecoder,
    FrameKind,
    encode_frame,
)
from lowu.node.gateway.tls_stream import TlsStream

QUEUE_FRAMES_MAX = (4096, 256, 256)
"""Frames a priority class may hold back for a peer: consensus, sync, transactions."""
QUEUE_BYTES_MAX = (64 * MIB, 64 * MIB, 32 * MIB)
RECEIVE_BYTES = 64 * 1024
SENT_AT_ONCE_BYTES = 16 * 1024
"""Larger frames leave by the writer, so that nothing else waits for their encryption."""
WRITE_BYTES = 64 * 1024
STEPS_AT_ONCE = 8
"""Reads and frames of one link after which other tasks may run."""
PING_S = 5.0
SILENCE_S = 20.0

Handler: TypeAlias = Callable[["LinkedPeer", Frame], Awaitable[None]]
Stream: TypeAlias = trio.abc.HalfCloseableStream | trio.abc.Stream


class LinkedPeer(Protocol):
    """A node that this one is linked to, over whatever carries its frames."""

    node_id: bytes
    is_dialer: bool
    closed: trio.Event

    def send(self, kind: FrameKind, value: object) -> None:
        """Queue a value as a frame; never blocks."""

    def send_encoded(self, kind: FrameKind, data: bytes) -> None:
        """Send a frame, or queue it; never blocks."""

    async def run(self, handle: Handler) -> None:
        """Serve the link until it fails or is closed; `BadInput` if the peer is to blame."""

    def close(self) -> None:
        """End the link soon."""


class Peer:
    """An authenticated connection."""

    def __init__(self, stream: Stream, node_id: bytes, *, is_dialer: bool) -> None:
        self.node_id = node_id
        self.is_dialer = is_dialer
        """Whether this node opened the connection."""
        self.dropped_frames = 0
        self._stream = stream
        self._fast = stream if isinstance(stream, TlsStream) else None
        self._fault: BadInput | None = None
        """Why the peer is to blame for the end of the link."""
        self._silent_since_s = math.inf
        """Since when nothing comes; infinite while something is being handled."""
        self._is_open = False
        self._is_writing = False
        """Whether the writer holds bytes that must leave before any other."""
        self._rest = b""
        """The rest of a frame that left in part; the next bytes to be written."""
        self._queues: tuple[deque[bytes], ...] = (deque(), deque(), deque())
        self._sizes_bytes = [0, 0, 0]
        self._wake = trio.Event()
        self.scope = trio.CancelScope()
        self.closed = trio.Event()

    def send(self, kind: FrameKind, value: object) -> None:
        """Queue a value as a frame; never blocks."""
        self.send_encoded(kind, encode_frame(kind, value))

    def send_encoded(self, kind: FrameKind, data: bytes) -> None:
        """Send a frame, or queue it; never blocks."""
        if self._fast is not None and len(data) <= SENT_AT_ONCE_BYTES and self._is_idle():
            data = self._send_now(self._fast, data)
            if not data:
                return
            self._rest = data
            self._wake.set()
            return
        priority = FRAME_PRIORITY[kind]
        queue, sizes = self._queues[priority], self._sizes_bytes
        while queue and (
            len(queue) >= QUEUE_FRAMES_MAX[priority]
            or sizes[priority] + len(data) > QUEUE_BYTES_MAX[priority]
        ):
            sizes[priority] -= len(queue.popleft())
            self.dropped_frames += 1
        queue.append(data)
        sizes[priority] += len(data)
        self._wake.set()

    def _is_idle(self) -> bool:
        return self._is_open and not self._is_writing and not self._rest and not any(self._queues)

    def _send_now(self, stream: TlsStream, data: bytes) -> bytes:
        try:
            return data[stream.send_now(data) :]
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.close()
            return b""

    async def run(self, handle: Handler) -> None:
        """Serve the link until it fails or is closed; `BadInput` if the peer is to blame."""
        self._is_open = True
        try:
            with self.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._ping)
                    try:
                        await self._read(handle)
                    except BadInput as error:
                        self._fault = error
                    nursery.cancel_scope.cancel()
        finally:
            self._is_open = False
            self.closed.set()
            with trio.move_on_after(0.5, shield=True):
                await trio.aclose_forcefully(self._stream)
        if self._fault is not None:
            raise self._fault

    def close(self) -> None:
        """End the link soon."""
        self.scope.cancel()

    def _next(self) -> bytes:
        """Take what is to be written next: frames of one class, as many as make one write."""
        if self._rest:
            data, self._rest = self._rest, b""
            return data
        for priority, queue in enumerate(self._queues):
            if queue:
                frames = [queue.popleft()]
                size = len(frames[0])
                while queue and size + len(queue[0]) <= WRITE_BYTES:
                    size += len(queue[0])
                    frames.append(queue.popleft())
                self._sizes_bytes[priority] -= size
                return b"".join(frames)
        return b""

    async def _write(self) -> None:
        try:
            while True:
                data = self._next()
                if not data:
                    self._wake = trio.Event()
                    await self._wake.wait()
                    continue
                self._is_writing = True
                for start in range(0, len(data), WRITE_BYTES):
                    await self._stream.send_all(memoryview(data)[start : start + WRITE_BYTES])
                self._is_writing = False
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.close()

    async def _ping(self) -> None:
        """Show that this node lives, and see that the other one does."""
        while trio.current_time() - self._silent_since_s < SILENCE_S:
            self.send(FrameKind.PING, 0)
            await trio.sleep(PING_S)
        self._fault = BadInput(f"silent for {SILENCE_S:.0f} s")
        self.close()

    async def _read(self, handle: Handler) -> None:
        decoder = FrameDecoder()
        steps = 0
        while True:
            self._silent_since_s = trio.current_time()
            data = await self._receive()
            self._silent_since_s = math.inf
            if not data:
                return
            frames = decoder.receive(data)
            for frame in frames:
                if frame.kind is not FrameKind.PING:
                    await handle(self, frame)
            steps += 1 + len(frames)
            if steps >= STEPS_AT_ONCE:
                steps = 0
                await trio.lowlevel.checkpoint()

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(RECEIVE_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""
