"""The issuer: builds packages from documents, registers anchors, revokes and supersedes.

A document's content stays in the package; the node sees 32 bytes and a few numbers.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    RevokeReason,
    Suite,
    encode_register_anchor,
    encode_revoke,
    encode_supersede,
)
from institutions.documents import Document
from institutions.leaves import build_leaves, compute_root, hash_leaf
from institutions.package import (
    SUITE,
    VERSION,
    Anchor,
    Header,
    Package,
    compute_anchor,
    compute_subject_commitment,
)
from institutions.registry import Signer
from institutions.schemas import DAY_S, SCHEMAS
from institutions.signing import DocumentKey


@dataclass(frozen=True, slots=True)
class Issued:
    """A package with what only the issuer and the holder keep."""

    package: Package
    anchor: bytes
    subject_salt: bytes
    """Opens the header's subject commitment; goes to receivers that know the subject."""
    receipt: dict[str, Any]
    """Receipt of the registration, as the node gave it."""


class Issuer:
    """An institution that issues documents."""

    def __init__(
        self,
        *,
        name: str,
        org_id: int,
        jurisdiction: str,
        signer: Signer,
        document_key: DocumentKey,
        key_id: int = 1,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.name = name
        self.org_id = org_id
        self._jurisdiction = jurisdiction
        self._signer = signer
        self._key = document_key
        self._key_id = key_id
        self._random = randomness

    def build_package(
        self,
        document: Document,
        *,
        audience: str,
        holder_key: bytes,
        issued_at_s: int,
        supersedes: bytes = b"",
    ) -> tuple[Package, bytes]:
        """Return a package that nobody has registered yet, and the subject's salt."""
        schema = SCHEMAS[document.schema]
        leaves = build_leaves(document.content, self._random(32))
        hashes = tuple(hash_leaf(schema.number, leaf) for leaf in leaves)
        subject_salt = self._random(32)
        commitment = compute_subject_commitment(
            document.subject.id_type, document.subject.id_value, subject_salt
        )
        start = issued_at_s - issued_at_s % DAY_S  # whole days: less to correlate (T3)
        header = Header(
            v=VERSION,
            suite=SUITE,
            doc_id=self._random(16).hex(),
            schema=schema.id,
            issuer_org=self.org_id,
            key_id=self._key_id,
            report_time=document.report_time_s,
            issued_at=issued_at_s,
            valid_from=start,
            valid_until=start + (schema.valid_days + 1) * DAY_S - 1,
            holder_key=holder_key.hex(),
            subject_commitment=commitment.hex(),
            leaf_count=len(leaves),
            root=compute_root(hashes).hex(),
            supersedes=supersedes.hex(),
            jurisdiction=self._jurisdiction,
            sensitivity=schema.sensitivity,
            must_disclose=schema.must_disclose,
        )
        blind = self._random(32)
        digest = header.doc_digest
        package = Package(
            header=header,
            disclosures=tuple(leaf for leaf in leaves if leaf.path),
            leaves=hashes,
            anchors=(Anchor(audience, blind, compute_anchor(digest, blind)),),
            issuer_signature=self._key.sign(digest),
        )
        return package, subject_salt

    async def issue(
        self,
        document: Document,
        *,
        audience: str,
        holder_key: bytes,
        issued_at_s: int,
        supersedes: bytes = b"",
    ) -> Issued:
        """Build a package and register its anchor; return once that is committed."""
        package, subject_salt = self.build_package(
            document,
            audience=audience,
            holder_key=holder_key,
            issued_at_s=issued_at_s,
            supersedes=supersedes,
        )
        (anchor,) = package.anchors
        receipt = await self._register(package, anchor.anchor)
        placed = replace(anchor, registered_height=int(receipt["blockNumber"], 16))
        package = replace(package, anchors=(placed,))
        return Issued(package, anchor.anchor, subject_salt, receipt)

    async def _register(self, package: Package, anchor: bytes) -> dict[str, Any]:
        call = encode_register_anchor(
            anchor,
            schema=SCHEMAS[package.header.schema].number,
            key_id=self._key_id,
            valid_until_day=package.header.valid_until_day,
            suite=Suite.SHA256_P256,
        )
        return await self._signer.send(HASH_REGISTRY_ADDRESS, call)

    async def add_audience(self, issued: Issued, audience: str) -> Issued:
        """Register another anchor of the same document, for another receiver."""
        blind = self._random(32)
        anchor = compute_anchor(issued.package.header.doc_digest, blind)
        receipt = await self._register(issued.package, anchor)
        height = int(receipt["blockNumber"], 16)
        anchors = (*issued.package.anchors, Anchor(audience, blind, anchor, height))
        return replace(
            issued,
            package=replace(issued.package, anchors=anchors),
            anchor=anchor,
            receipt=receipt,
        )

    async def revoke(self, anchor: bytes, reason: RevokeReason) -> dict[str, Any]:
        """Withdraw an anchor for good."""
        return await self._signer.send(HASH_REGISTRY_ADDRESS, encode_revoke(anchor, reason))

    async def supersede(self, anchor: bytes, newer: bytes) -> dict[str, Any]:
        """Replace an anchor by that of a newer document."""
        return await self._signer.send(HASH_REGISTRY_ADDRESS, encode_supersede(anchor, newer))
