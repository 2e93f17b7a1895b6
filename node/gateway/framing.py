"""Framing, sans I/O: a length, a kind, a msgpack payload.

    length u32 (of kind and payload) | kind u8 | payload

The length is checked against the cap of its kind before anything is buffered for it. Payloads
are decoded with bounds; what does not decode is `BadInput` and costs the peer its connection.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import msgpack

from lowu.consensus.codec import unpack_bounded
from lowu.node.errors import BadInput

HEADER = struct.Struct(">IB")


class Priority(IntEnum):
    """Classes of traffic; a lower number leaves first."""

    CONSENSUS = 0
    SYNC = 1
    TRANSACTIONS = 2


class FrameKind(IntEnum):
    """What a frame carries."""

    HELLO = 1
    PING = 2
    CONSENSUS = 3
    SYNC_STATUS = 4
    REQUEST = 5
    RESPONSE = 6
    TRANSACTIONS = 7


MIB = 1024 * 1024
ITEMS_MAX = 10_000
LISTS_MAX = 16
"""Lists cost far more memory than bytes on the wire; no frame of ours holds more than three."""

FRAME_BYTES_MAX: dict[FrameKind, int] = {
    FrameKind.HELLO: 4 * 1024,
    FrameKind.PING: 64,
    FrameKind.CONSENSUS: 8 * MIB,
    FrameKind.SYNC_STATUS: 1024,
    FrameKind.REQUEST: 4 * MIB,
    FrameKind.RESPONSE: 40 * MIB,
    FrameKind.TRANSACTIONS: 8 * MIB,
}

FRAME_PRIORITY: dict[FrameKind, Priority] = {
    FrameKind.HELLO: Priority.CONSENSUS,
    FrameKind.PING: Priority.CONSENSUS,
    FrameKind.CONSENSUS: Priority.CONSENSUS,
    FrameKind.SYNC_STATUS: Priority.SYNC,
    FrameKind.REQUEST: Priority.SYNC,
    FrameKind.RESPONSE: Priority.SYNC,
    FrameKind.TRANSACTIONS: Priority.TRANSACTIONS,
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One received frame; the payload is still packed."""

    kind: FrameKind
    payload: bytes


def encode_frame(kind: FrameKind, value: object) -> bytes:
    """Return the bytes of a frame; ValueError if our own payload is above the cap."""
    payload: bytes = msgpack.packb(value, use_bin_type=True)
    if len(payload) + 1 > FRAME_BYTES_MAX[kind]:
        raise ValueError(f"{kind.name} frame of {len(payload)} bytes is above its cap")
    return HEADER.pack(len(payload) + 1, kind) + payload


def decode_payload(frame: Frame) -> Any:
    """Return the value in a frame's payload, or `BadInput`."""
    try:
        return unpack_bounded(frame.payload, items_max=ITEMS_MAX, lists_max=LISTS_MAX)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise BadInput(f"{frame.kind.name} frame is not msgpack") from error


def decode_frame(data: bytes) -> Frame:
    """Return the one frame that these bytes are, or `BadInput`."""
    frames = FrameDecoder().receive(data)
    if len(frames) != 1:
        raise BadInput(f"{len(data)} bytes are not one frame")
    return frames[0]


class FrameDecoder:
    """Cuts a byte stream into frames. Holds at most one incomplete frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: bytes) -> list[Frame]:
        """Take bytes and return the frames that are complete; `BadInput` ends the stream."""
        self._buffer += data
        frames = []
        while (frame := self._take()) is not None:
            frames.append(frame)
        return frames

    def _take(self) -> Frame | None:
        if len(self._buffer) < HEADER.size:
            return None
        length, number = HEADER.unpack_from(self._buffer)
        try:
            kind = FrameKind(number)
        except ValueError as error:
            raise BadInput(f"unknown frame kind {number}") from error
        if not 1 <= length <= FRAME_BYTES_MAX[kind]:
            raise BadInput(f"{kind.name} frame announces {length} bytes")
        end = HEADER.size - 1 + length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[HEADER.size : end])
        del self._buffer[:end]
        return Frame(kind, payload)
