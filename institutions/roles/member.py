"""An organisation of the consortium, as it acts: the same for its issuers and verifiers."""

from __future__ import annotations

from dataclasses import dataclass

from institutions.package.signatures import DocumentKey


@dataclass(frozen=True, slots=True)
class Member:
    """Who an organisation is on the ledger, and the document key it signs with."""

    name: str
    org_id: int
    side: str
    """Its jurisdiction, such as ``HK``."""
    document_key: DocumentKey
    key_id: int = 1
    """The number under which the ledger has the document key's public half."""
