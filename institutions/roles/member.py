"""A member of the consortium: the identity that its issuer and verifier share."""

from __future__ import annotations

from dataclasses import dataclass, field

from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.institutions.documents.schemas import Schemas
from lowu.institutions.package.signatures import DocumentKey


@dataclass(frozen=True, slots=True)
class Member:
    """An organisation's identity on the ledger, and the document key it signs with."""

    name: str
    org_id: int
    side: str
    """Its jurisdiction, such as ``HK``."""
    document_key: DocumentKey
    ledger: int
    """The number that transactions of its ledger are signed for."""
    key_id: int = 1
    """The number of the document key's public half on the ledger."""
    schemas: Schemas = field(default_factory=lambda: SCHEMAS, compare=False, repr=False)
    """The document schemas that it knows."""
