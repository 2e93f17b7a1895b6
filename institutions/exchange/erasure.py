"""The erasure receipt: an issuer signs that it destroyed the data that opens a document's anchors.

The ledger holds the receipt's digest beside each of the anchors (`markErased`); the receipt itself
goes to the holder. The anchors stay on the ledger, but reveal nothing any more (T5).
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import Any

from lowu.contracts.registry import AnchorState
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.package.canonical import encode_canonical
from lowu.institutions.package.format import (
    ANCHORS_MAX,
    BatchPlace,
    Package,
    place_fields,
    read_format,
    read_json,
    read_place,
)
from lowu.institutions.package.forms import (
    FormError,
    read_hex,
    read_integer,
    read_list,
    read_object,
    read_row,
    read_text,
)
from lowu.institutions.package.signatures import DocumentKey, is_signed_by
from lowu.institutions.package.tags import tag

FORMAT = "dvp2-erasure"


@dataclass(frozen=True, slots=True)
class ErasedAnchor:
    """An anchor of an erased document, and its position in a batch, if any."""

    anchor: bytes
    batch: BatchPlace | None = None


@dataclass(frozen=True, slots=True)
class ErasureReceipt:
    """What an issuer erased, and when (seconds since 1970); nothing of the document's content."""

    issuer_org: int
    key_id: int
    doc_id: str
    anchors: tuple[ErasedAnchor, ...]
    reason: str
    erased_at: int
    signature: bytes = b""

    @property
    def digest(self) -> bytes:
        """The digest that is on the ledger, and that the issuer signs."""
        fields = _fields(replace(self, signature=b""))
        return hashlib.sha256(tag("erased") + encode_canonical(fields)).digest()

    def signed(self, key: DocumentKey) -> ErasureReceipt:
        """Return the receipt with the issuer's signature."""
        return replace(self, signature=key.sign(self.digest))

    def is_signed_by(self, public_key: bytes) -> bool:
        """Whether an issuer's key signed the receipt."""
        return is_signed_by(public_key, self.digest, self.signature)

    def is_of(self, package: Package) -> bool:
        """Whether the receipt covers this document with all its anchors."""
        header = package.header
        is_same = (self.doc_id, self.issuer_org) == (header.doc_id, header.issuer_org)
        erased = {item.anchor for item in self.anchors}
        return is_same and {item.anchor for item in package.anchors} <= erased


def _fields(receipt: ErasureReceipt) -> dict[str, Any]:
    anchors = [[item.anchor.hex(), place_fields(item.batch)] for item in receipt.anchors]
    return {**asdict(receipt), "anchors": anchors, "signature": receipt.signature.hex()}


def encode_erasure(receipt: ErasureReceipt) -> bytes:
    """Return the bytes of a receipt."""
    return encode_canonical({"format": FORMAT, **_fields(receipt)})


def decode_erasure(data: bytes) -> ErasureReceipt:
    """Decode a receipt; `FormError` says what is wrong with its form."""
    raw = read_json(data)
    read_format(raw, FORMAT)
    keys = ("format", *ErasureReceipt.__slots__)
    raw = read_object(raw, keys, "erasure receipt")
    rows = [
        read_row(row, 2, "anchors") for row in read_list(raw["anchors"], ANCHORS_MAX, "anchors")
    ]
    if not rows:
        raise FormError("anchors: at least one")
    read_hex(raw["doc_id"], 16, "doc_id")
    return ErasureReceipt(
        read_integer(raw["issuer_org"], "issuer_org", 0xFFFF),
        read_integer(raw["key_id"], "key_id", 0xFFFF),
        raw["doc_id"],
        tuple(
            ErasedAnchor(
                read_hex(anchor, 32, "anchors"), None if place is None else read_place(place)
            )
            for anchor, place in rows
        ),
        read_text(raw["reason"], "reason"),
        read_integer(raw["erased_at"], "erased_at"),
        read_hex(raw["signature"], 64, "signature"),
    )


async def find_flaw(receipt: ErasureReceipt, registry: Registry) -> str:
    """Return why a receipt disagrees with the ledger; empty if they agree.

    Raises:
        ClientError: the node could not be asked.
    """
    key = await registry.get_key(receipt.issuer_org, receipt.key_id)
    if not receipt.is_signed_by(key.public_key):
        return "it is not signed by the issuer that it names"
    for item in receipt.anchors:
        height = await _find_mark(receipt, item, registry)
        if not height:
            return f"the ledger does not say that {item.anchor.hex()} is erased by it"
        if not key.was_usable(height):  # whoever stole it may have signed the receipt
            return (
                f"the issuer's key {receipt.key_id}, which signed it, was not in use when the "
                f"ledger noted it, in block {height}; ask the issuer for an account of this"
            )
    return ""


async def _find_mark(receipt: ErasureReceipt, item: ErasedAnchor, registry: Registry) -> int:
    """Return the height at which the ledger noted a receipt for an anchor; 0 if it did not."""
    issuer, place = receipt.issuer_org, item.batch
    if place is None:
        record = await registry.get_record(issuer, item.anchor)
        state, height = record.state, record.state_height
        digest = await registry.get_erasure(issuer, item.anchor)
    else:
        leaf = (item.anchor, place.index, place.path)
        state, _, height = await registry.get_leaf_status(issuer, place.root, leaf)
        digest = await registry.get_leaf_erasure(issuer, place.root, place.index)
    return height if (state, digest) == (AnchorState.ERASED, receipt.digest) else 0
