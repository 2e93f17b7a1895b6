"""The carried package: what an issuer hands to a holder and a holder to a receiver.

One canonical JSON object. The header is always disclosed and signed (through `doc_digest`); the
disclosures are the fields shown; `leaves` are the hashes of all leaves, so that a receiver can
tell which field was changed; `anchors` hold one blinded anchor for each audience. Only anchors
go on chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from institutions.canonical import CanonicalError, decode_canonical, encode_canonical
from institutions.leaves import LEAVES_MAX, Leaf, LeafType

FORMAT = "dvp1"
VERSION = 1
SUITE = "sha256-p256"
PACKAGE_BYTES_MAX = 4 * 1024 * 1024
ANCHORS_MAX = 64


class PackageError(ValueError):
    """Bytes that are not a package; `is_version` if only the version is not supported."""

    def __init__(self, text: str, *, is_version: bool = False) -> None:
        super().__init__(text)
        self.is_version = is_version


@dataclass(frozen=True, slots=True)
class Header:
    """What is always disclosed. Times in seconds since 1970; hex for bytes."""

    v: int
    suite: str
    doc_id: str
    schema: str
    issuer_org: int
    key_id: int
    report_time: int
    issued_at: int
    valid_from: int
    valid_until: int
    holder_key: str
    subject_commitment: str
    leaf_count: int
    """Leaves of the tree, pads included."""
    root: str
    supersedes: str
    """Anchor of the document that this one replaces, or empty."""
    jurisdiction: str
    sensitivity: int
    must_disclose: tuple[str, ...]

    @property
    def doc_digest(self) -> bytes:
        """What the issuer signs and anchors are made from."""
        value = {**asdict(self), "must_disclose": list(self.must_disclose)}
        return hashlib.sha256(b"dvp1-doc" + encode_canonical(value)).digest()

    @property
    def valid_until_day(self) -> int:
        """The end of validity as it stands on chain, in days."""
        return self.valid_until // 86_400


@dataclass(frozen=True, slots=True)
class Anchor:
    """A blinded anchor for one audience."""

    audience: str
    blind: bytes
    anchor: bytes
    registered_height: int = 0
    """Block of its registration, as the issuer was told: a hint how far a node must be to know
    it. 0 if unknown; proves nothing."""


@dataclass(frozen=True, slots=True)
class Package:
    """A document as it is carried."""

    header: Header
    disclosures: tuple[Leaf, ...]
    leaves: tuple[bytes, ...]
    anchors: tuple[Anchor, ...]
    issuer_signature: bytes

    def disclosed(self, keep: Callable[[str], bool], audience: str) -> Package:
        """Return what a receiver is shown: the fields to keep, and its own anchor only."""
        return replace(
            self,
            disclosures=tuple(leaf for leaf in self.disclosures if keep(leaf.path)),
            anchors=tuple(item for item in self.anchors if item.audience == audience),
        )


def compute_anchor(doc_digest: bytes, blind: bytes) -> bytes:
    """Return the anchor of a document for the audience that knows `blind`."""
    return hashlib.sha256(b"dvp1-anchor" + doc_digest + blind).digest()


def compute_subject_commitment(id_type: str, id_value: str, salt: bytes) -> bytes:
    """Return the commitment to whom a document is about."""
    parts = (id_type.encode(), id_value.encode(), salt)
    framed = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    return hashlib.sha256(b"dvp1-subj" + framed).digest()


def encode_package(package: Package) -> bytes:
    """Return the bytes of a package."""
    header = {**asdict(package.header), "must_disclose": list(package.header.must_disclose)}
    return encode_canonical(
        {
            "format": FORMAT,
            "header": header,
            "disclosures": [
                [leaf.index, leaf.path, int(leaf.type), leaf.value, leaf.salt.hex()]
                for leaf in package.disclosures
            ],
            "leaves": [item.hex() for item in package.leaves],
            "anchors": [
                [item.audience, item.blind.hex(), item.anchor.hex(), item.registered_height]
                for item in package.anchors
            ],
            "issuer_signature": package.issuer_signature.hex(),
        }
    )


_HEADER_TYPES: dict[str, type] = {
    "v": int,
    "suite": str,
    "doc_id": str,
    "schema": str,
    "issuer_org": int,
    "key_id": int,
    "report_time": int,
    "issued_at": int,
    "valid_from": int,
    "valid_until": int,
    "holder_key": str,
    "subject_commitment": str,
    "leaf_count": int,
    "root": str,
    "supersedes": str,
    "jurisdiction": str,
    "sensitivity": int,
    "must_disclose": tuple,
}


def decode_package(data: bytes) -> Package:
    """Return the package in `data`; `PackageError` says what is wrong with its form."""
    try:
        raw = decode_canonical(data, PACKAGE_BYTES_MAX)
        keys = {"format", "header", "disclosures", "leaves", "anchors", "issuer_signature"}
        if not isinstance(raw, dict) or set(raw) != keys:
            raise PackageError(f"a package is an object with {', '.join(sorted(keys))}")
        if raw["format"] != FORMAT:
            raise PackageError(f"format {raw['format']!r} is not {FORMAT}", is_version=True)
        header = _decode_header(raw["header"])
        return Package(
            header,
            tuple(_decode_leaf(item) for item in _list(raw["disclosures"], LEAVES_MAX)),
            tuple(_hex(item, 32) for item in _list(raw["leaves"], LEAVES_MAX)),
            tuple(_decode_anchor(item) for item in _list(raw["anchors"], ANCHORS_MAX)),
            _hex(raw["issuer_signature"], 64),
        )
    except CanonicalError as error:
        raise PackageError(str(error)) from error


def _decode_header(raw: object) -> Header:
    if not isinstance(raw, dict) or set(raw) != set(_HEADER_TYPES):
        raise PackageError("the header has missing or unknown fields")
    if raw["v"] != VERSION or raw["suite"] != SUITE:
        raise PackageError(
            f"version {raw['v']!r} with suite {raw['suite']!r} is not supported", is_version=True
        )
    values: dict[str, Any] = {
        **raw,
        "must_disclose": tuple(_list(raw["must_disclose"], LEAVES_MAX)),
    }
    for name, kind in _HEADER_TYPES.items():
        if type(values[name]) is not kind:
            raise PackageError(f"header field {name} has a wrong type")
        if kind is int and not 0 <= values[name] < 2**53:
            raise PackageError(f"header field {name} is out of range")
    if not all(isinstance(path, str) for path in values["must_disclose"]):
        raise PackageError("header field must_disclose has a wrong type")
    for name, size in (
        ("doc_id", 16),
        ("root", 32),
        ("subject_commitment", 32),
        ("holder_key", 64),
    ):
        _hex(values[name], size)
    return Header(**values)


def _list(value: object, size_max: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > size_max:
        raise PackageError(f"expected a list of at most {size_max}")
    return value


def _hex(value: object, size: int) -> bytes:
    if not isinstance(value, str) or len(value) != 2 * size or value != value.lower():
        raise PackageError(f"expected {size} bytes in lower-case hex")
    try:
        return bytes.fromhex(value)
    except ValueError as error:
        raise PackageError("not hex") from error


def _decode_leaf(raw: object) -> Leaf:
    match raw:
        case [int(index), str(path), int(kind), str(value), salt] if 0 <= index < LEAVES_MAX:
            if kind not in list(LeafType) or LeafType(kind) is LeafType.PAD:
                raise PackageError(f"leaf type {kind} cannot be disclosed")
            return Leaf(index, path, LeafType(kind), value, _hex(salt, 32))
    raise PackageError("a disclosure is [index, path, type, value, salt]")


def _decode_anchor(raw: object) -> Anchor:
    match raw:
        case [str(audience), blind, anchor, int(height)] if 0 <= height < 2**48:
            return Anchor(audience, _hex(blind, 32), _hex(anchor, 32), height)
    raise PackageError("an anchor is [audience, blind, anchor, height]")
