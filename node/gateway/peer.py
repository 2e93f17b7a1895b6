"""One link to one node: a writer that serves three bounded queues, a reader of frames.

A queue that is full drops its oldest frame (votes and status are asked for again; transactions
are gossiped anew by others), so a peer that does not read costs bounded memory and never
blocks this node. A link that is silent for `SILENCE_S` is closed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from node.errors import BadInput
from node.gateway.frames import (
    FRAME_PRIORITY,
    MIB,
    Frame,
    FrameDecoder,
    FrameKind,
    encode_frame,
)

QUEUE_FRAMES_MAX = (4096, 256, 256)
"""Frames a priority class may hold back for a peer: consensus, sync, transactions."""
QUEUE_BYTES_MAX = (64 * MIB, 64 * MIB, 32 * MIB)
RECEIVE_BYTES = 64 * 1024
PING_S = 5.0
SILENCE_S = 20.0

Handler: TypeAlias = Callable[["Peer", Frame], Awaitable[None]]
Stream: TypeAlias = trio.abc.HalfCloseableStream | trio.abc.Stream


class Peer:
    """An authenticated connection."""

    def __init__(self, stream: Stream, node_id: bytes, *, is_dialer: bool) -> None:
        self.node_id = node_id
        self.is_dialer = is_dialer
        """Whether this node opened the connection."""
        self.dropped_frames = 0
        self._stream = stream
        self._queues: tuple[deque[bytes], ...] = (deque(), deque(), deque())
        self._sizes_bytes = [0, 0, 0]
        self._wake = trio.Event()
        self.scope = trio.CancelScope()
        self.closed = trio.Event()

    def send(self, kind: FrameKind, value: object) -> None:
        """Queue a value as a frame; never blocks."""
        self.send_encoded(kind, encode_frame(kind, value))

    def send_encoded(self, kind: FrameKind, data: bytes) -> None:
        """Queue a frame; never blocks."""
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

    async def run(self, handle: Handler) -> None:
        """Serve the link until it fails or is closed; `BadInput` if the peer is to blame."""
        fault: BadInput | None = None
        try:
            with self.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._ping)
                    try:
                        await self._read(handle)
                    except BadInput as error:
                        fault = error
                    nursery.cancel_scope.cancel()
        finally:
            self.closed.set()
            with trio.move_on_after(0.5, shield=True):
                await trio.aclose_forcefully(self._stream)
        if fault is not None:
            raise fault

    def close(self) -> None:
        """End the link soon."""
        self.scope.cancel()

    def _next(self) -> bytes | None:
        for priority, queue in enumerate(self._queues):
            if queue:
                data = queue.popleft()
                self._sizes_bytes[priority] -= len(data)
                return data
        return None

    async def _write(self) -> None:
        try:
            while True:
                data = self._next()
                if data is None:
                    self._wake = trio.Event()
                    await self._wake.wait()
                    continue
                await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.close()

    async def _ping(self) -> None:
        while True:
            await trio.sleep(PING_S)
            self.send(FrameKind.PING, 0)

    async def _read(self, handle: Handler) -> None:
        decoder = FrameDecoder()
        with trio.CancelScope() as silence:  # one for all frames: making one takes long
            while True:
                silence.deadline = trio.current_time() + SILENCE_S
                data = await self._receive()
                silence.deadline = math.inf
                if not data:
                    return
                for frame in decoder.receive(data):
                    if frame.kind is not FrameKind.PING:
                        await handle(self, frame)
        raise BadInput(f"silent for {SILENCE_S:.0f} s")

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(RECEIVE_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""
