"""A receiver's own requests, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass, field

from lowu.institutions.exchange.request import Request, decode_request, encode_request

ATTEMPT_BYTES = 16
NO_ATTEMPT = bytes(ATTEMPT_BYTES)
CUT_OFF = b"\xff" * ATTEMPT_BYTES
"""Stands for an attempt without a number that ended before it had an answer of the ledger."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One of our requests, and its state."""

    request: Request
    sealing_key: bytes = field(repr=False)
    is_used: bool = False
    attempt: bytes = NO_ATTEMPT
    """The attempt that used it; `NO_ATTEMPT` if it cannot be resumed. While it is not used:
    `CUT_OFF` if it may have been used up on the ledger, and nobody was told."""
    judged: bytes = bytes(32)
    """SHA-256 of the sealed bytes that were accepted: only the same are resumed."""
    accepted: bytes = b""
    """The lines of the report that accepted it, for an attempt that resumes."""


def encode_asked(asked: Asked) -> bytes:
    """Return the stored form."""
    head = asked.sealing_key + bytes([asked.is_used]) + asked.attempt + asked.judged
    return (
        head
        + len(asked.accepted).to_bytes(4, "big")
        + asked.accepted
        + encode_request(asked.request)
    )


def decode_asked(data: bytes) -> Asked:
    """Return the request in a stored form."""
    end = 85 + int.from_bytes(data[81:85], "big")
    request = decode_request(data[end:])
    return Asked(request, data[:32], bool(data[32]), data[33:49], data[49:81], data[85:end])
