"""A receiver's request: the fields it wants to see, the purpose, the expiry and a sealing key.

A presentation answers one request, by the digest of all of it: so it cannot be shown twice, to
another receiver, or sealed to another key. The receiver signs with its document key, which is on
the ledger; the sealing key is made for this request alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from lowu.contracts.schemas.document_schema import EACH, Schema
from lowu.contracts.schemas.schema_tables import find_field_flaw
from lowu.institutions.exchange.consent import read_purpose
from lowu.institutions.package.canonical import encode_canonical
from lowu.institutions.package.format import FILE_PATH, ORG_MAX, read_format, read_json
from lowu.institutions.package.forms import (
    FormError,
    read_hex,
    read_integer,
    read_object,
    read_paths,
    read_text,
    split_path,
)
from lowu.institutions.package.leaves import LEAVES_MAX
from lowu.institutions.package.signatures import DocumentKey, is_signed_by
from lowu.institutions.package.tags import tag

FORMAT = "dvp2-request"


def read_fields(fields: Iterable[str], schema: Schema | None = None) -> tuple[str, ...]:
    """Return the paths that a receiver asks for, or a holder chooses.

    Raises:
        FormError: one is no path, or documents of the schema, if one is given, have nothing there.
    """
    if isinstance(fields, (str, bytes)):
        raise FormError(f"fields: a list of paths, such as [{fields!r}], and not one text")
    chosen = read_paths(list(fields), LEAVES_MAX, "fields")
    if schema is None:
        return chosen
    for path in chosen:
        # A document of one file has it at a path of its own, whatever its schema.
        flaw = "" if path in ("", FILE_PATH) else find_field_flaw(path, schema.fields)
        if EACH in split_path(path):
            flaw = flaw or f"{path}: name the whole array, without {EACH}, or one of its elements"
        if flaw:
            raise FormError(f"fields: {flaw}")
    return chosen


@dataclass(frozen=True, slots=True)
class Request:
    """What a receiver asks a holder for. Times in seconds since 1970; bytes in hex."""

    receiver: str
    receiver_org: int
    key_id: int
    """Number of the receiver's document key that signs."""
    ledger: int
    """The number that transactions of the ledger are signed for."""
    schema: str
    purpose: str
    fields: tuple[str, ...]
    """Paths that the receiver wants to see."""
    nonce: str
    issued_at: int
    expires_at: int
    sealing_key: str
    signature: str = ""

    @property
    def digest(self) -> bytes:
        """The digest that the receiver signs, and that an answer names."""
        fields = _fields(replace(self, signature=""))
        return hashlib.sha256(tag("request") + encode_canonical(fields)).digest()

    def signed(self, key: DocumentKey) -> Request:
        """Return the request with the receiver's signature."""
        return replace(self, signature=key.sign(self.digest).hex())

    def is_signed_by(self, public_key: bytes) -> bool:
        """Whether a receiver's key signed the request."""
        return is_signed_by(public_key, self.digest, bytes.fromhex(self.signature))


def _fields(request: Request) -> dict[str, Any]:
    return {**asdict(request), "fields": list(request.fields)}


def encode_request(request: Request) -> bytes:
    """Return the bytes of a request."""
    return encode_canonical({"format": FORMAT, **_fields(request)})


def decode_request(data: bytes) -> Request:
    """Decode a request; `FormError` says what is wrong with its form."""
    raw = read_json(data)
    read_format(raw, FORMAT)
    raw = dict(read_object(raw, ("format", *Request.__slots__), "request"))
    del raw["format"]
    for name, size in {"nonce": 16, "sealing_key": 32, "signature": 64}.items():
        read_hex(raw[name], size, name)
    read_purpose(raw["purpose"])
    for name in ("receiver", "schema"):
        read_text(raw[name], name)
    for name in ("receiver_org", "key_id"):
        read_integer(raw[name], name, ORG_MAX)
    for name in ("ledger", "issued_at", "expires_at"):
        read_integer(raw[name], name)
    return Request(**{**raw, "fields": read_paths(raw["fields"], LEAVES_MAX, "fields")})
