"""A receiver's request: for what it wants to see which fields, by when, and where to seal it to.

The nonce ties a presentation to one request, so that none is shown twice or to somebody else.
The receiver signs with its document key, which the ledger tells of; the sealing key is made for
this request alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import Any

from institutions.package.canonical import encode_canonical
from institutions.package.format import read_format, read_json
from institutions.package.forms import read_hex, read_integer, read_object, read_paths, read_text
from institutions.package.leaves import LEAVES_MAX
from institutions.package.signatures import DocumentKey, is_signed_by

FORMAT = "dvp1-request"


@dataclass(frozen=True, slots=True)
class Request:
    """What a receiver asks a holder for. Times in seconds since 1970; hex for bytes."""

    receiver: str
    receiver_org: int
    schema: str
    purpose: str
    fields: tuple[str, ...]
    """Paths that it wants to see."""
    nonce: str
    issued_at: int
    expires_at: int
    sealing_key: str
    signature: str = ""

    @property
    def digest(self) -> bytes:
        """What the receiver signs."""
        fields = _fields(replace(self, signature=""))
        return hashlib.sha256(b"dvp1-request" + encode_canonical(fields)).digest()

    def signed(self, key: DocumentKey) -> Request:
        """Return the request with the receiver's signature."""
        return replace(self, signature=key.sign(self.digest).hex())

    def is_signed_by(self, public_key: bytes) -> bool:
        """Whether a receiver's key signed it."""
        return is_signed_by(public_key, self.digest, bytes.fromhex(self.signature))


def _fields(request: Request) -> dict[str, Any]:
    return {**asdict(request), "fields": list(request.fields)}


def encode_request(request: Request) -> bytes:
    """Return the bytes of a request."""
    return encode_canonical({"format": FORMAT, **_fields(request)})


def decode_request(data: bytes) -> Request:
    """Return the request in `data`; `FormError` says what is wrong with its form."""
    raw = read_json(data)
    read_format(raw, FORMAT)
    raw = dict(read_object(raw, ("format", *Request.__slots__), "request"))
    del raw["format"]
    for name, size in {"nonce": 16, "sealing_key": 32, "signature": 64}.items():
        read_hex(raw[name], size, name)
    for name in ("receiver", "schema", "purpose"):
        read_text(raw[name], name)
    for name in ("receiver_org", "issued_at", "expires_at"):
        read_integer(raw[name], name)
    return Request(**{**raw, "fields": read_paths(raw["fields"], LEAVES_MAX, "fields")})
