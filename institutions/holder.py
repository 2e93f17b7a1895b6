"""The holder: a company or person who carries packages and decides what to show to whom.

The holder has no account on the ledger and talks to no node.
"""

from __future__ import annotations

from collections.abc import Iterable

from institutions.package import Package, decode_package, encode_package
from institutions.signing import DocumentKey


class Holder:
    """Keeps packages by document id."""

    def __init__(self, name: str, key: DocumentKey) -> None:
        self.name = name
        self.key = key
        self._packages: dict[str, Package] = {}

    def receive(self, data: bytes) -> str:
        """Take a package from an issuer; return its document id. `PackageError` if malformed."""
        package = decode_package(data)
        self._packages[package.header.doc_id] = package
        return package.header.doc_id

    def present(self, doc_id: str, audience: str, fields: Iterable[str] | None = None) -> bytes:
        """Return a package for one receiver: its anchor, and the fields chosen.

        `fields` are path prefixes; None shows everything. Fields that the schema demands are
        not added silently: a receiver refuses a package that hides them.

        Raises:
            KeyError: no such document, or none of its anchors is for that receiver.
        """
        package = self._packages[doc_id]
        if not any(item.audience == audience for item in package.anchors):
            raise KeyError(f"document {doc_id} was not issued for {audience}")
        prefixes = None if fields is None else tuple(fields)

        def keep(path: str) -> bool:
            return prefixes is None or any(
                path == prefix or path.startswith(prefix + "/") for prefix in prefixes
            )

        return encode_package(package.disclosed(keep, audience))
