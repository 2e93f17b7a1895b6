"""The package: what an issuer hands to a holder (docs/PACKAGE.md).

One canonical JSON object. The header is always disclosed and signed (through `doc_digest`);
`disclosures` holds all fields with their salts, `leaves` the hashes of all leaves, `anchors` one
anchor for each audience. Only anchors go on chain. A holder makes a presentation from a package,
and shows that to a receiver.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from lowu.contracts.named import UnknownName
from lowu.institutions.package.canonical import (
    STRING_MAX,
    CanonicalError,
    decode_canonical,
    encode_canonical,
)
from lowu.institutions.package.forms import (
    INTEGER_MAX,
    FormError,
    read_hex,
    read_integer,
    read_list,
    read_object,
    read_path,
    read_paths,
    read_row,
    read_text,
)
from lowu.institutions.package.leaves import LEAVES_MAX, Leaf, LeafType, check_leaf
from lowu.institutions.package.proof import RegistrationProof, proof_fields, read_proof
from lowu.institutions.package.tags import FIRST_VERSION, VERSION, frame, tag

FORMAT = "dvp2"
FIRST_FORMAT = "dvp1"
SUITE = "sha256-p256"
PACKAGE_BYTES_MAX = 4 * 1024 * 1024
ANCHORS_MAX = 64
ORG_MAX = 0xFFFF
"""Highest number of an organisation, and of a key of one."""
SEALED_SEED_BYTES = 113
"""A point, 32 bytes of ciphertext, and a tag (HPKE)."""


BATCH_DEPTH_MAX = 16
"""A batch has at most 65,536 documents."""
FILE_PATH = "/file"
"""Path of the only field of a document with a file profile."""


class Profile(StrEnum):
    """The data an anchor is made from, to compare what each reveals; the ledger accepts all."""

    FIELDS = "fields"
    """The receiver, the header's digest, which binds salted fields, and a blind."""
    FILE_BLIND = "file-blind"
    """The same, with the digest of a file."""
    FILE_PLAIN = "file-plain"
    """The plain digest of a file, for no particular receiver (the pilot's reported practice)."""


@dataclass(frozen=True, slots=True)
class PackageHeader:
    """The fields that are always disclosed. Times in seconds since 1970; bytes in hex."""

    v: int
    suite: str
    profile: Profile
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
        """The digest that the issuer signs and anchors are made from."""
        return hashlib.sha256(tag("doc", self.v) + encode_canonical(header_fields(self))).digest()

    @property
    def is_for_one_receiver(self) -> bool:
        """Whether an anchor of it covers the receiver that it is for."""
        return self.v != FIRST_VERSION and self.profile is not Profile.FILE_PLAIN

    @property
    def valid_until_day(self) -> int:
        """The end of validity as recorded on chain, in days."""
        return self.valid_until // 86_400


@dataclass(frozen=True, slots=True)
class BatchPlace:
    """The position of an anchor in a registered batch."""

    root: bytes
    index: int
    path: tuple[bytes, ...]
    """Sibling hashes from the anchor up."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A document's anchor for one receiver."""

    audience: str
    """The receiver's name."""
    org: int
    """The receiver's organisation, which the anchor covers; 0 in version 1."""
    blind: bytes
    anchor: bytes
    registered_height: int = 0
    """Block of its registration, as the issuer was told: a hint which height a node needs to know
    it. 0 if unknown. A proof, if there is one, must state the same height."""
    batch: BatchPlace | None = None
    proof: RegistrationProof | None = None
    """Proves the registration to a reader that cannot ask a node."""

    @property
    def registered(self) -> bytes:
        """The value registered on chain: the anchor, or the root of its batch."""
        return self.anchor if self.batch is None else self.batch.root


@dataclass(frozen=True, slots=True)
class Package:
    """A document in the form its holder keeps."""

    header: PackageHeader
    disclosures: tuple[Leaf, ...]
    leaves: tuple[bytes, ...]
    anchors: tuple[Anchor, ...]
    issuer_signature: bytes
    subject_salt: bytes
    """Opens the subject commitment for receivers that know the subject."""
    seed: bytes
    """The seed of all salts, sealed to the holder; never passed on."""

    def anchor_for(self, audience: str) -> Anchor:
        """Return the anchor for a receiver; `KeyError` if the document has none."""
        for item in self.anchors:
            if item.audience == audience:
                return item
        others = ", ".join(item.audience for item in self.anchors)
        raise UnknownName(
            f"document {self.header.doc_id} was not issued for {audience}, but for {others}"
        )


def compute_anchor(
    header: PackageHeader, org: int, blind: bytes, file_digest: bytes = b""
) -> bytes:
    """Return a document's anchor for the receiver `org`, which is told `blind`.

    `file_digest` is the digest of the file, for the file profiles.
    """
    if header.profile is Profile.FILE_PLAIN:
        return file_digest
    if header.v == FIRST_VERSION:
        covered = header.doc_digest if header.profile is Profile.FIELDS else file_digest
        return hashlib.sha256(tag("anchor", header.v) + covered + blind).digest()
    covered = header.doc_digest + (file_digest if header.profile is Profile.FILE_BLIND else b"")
    return hashlib.sha256(
        tag("anchor") + frame(header.profile.encode()) + org.to_bytes(2, "big") + covered + blind
    ).digest()


def find_file_digest(disclosures: tuple[Leaf, ...]) -> bytes:
    """Return the file digest of a document with a file profile; empty if it is not shown."""
    for leaf in disclosures:
        if leaf.path == FILE_PATH and leaf.type is LeafType.FILE:
            return bytes.fromhex(leaf.value.split(":")[1])
    return b""


def compute_subject_commitment(
    id_type: str, id_value: str, salt: bytes, version: int = VERSION
) -> bytes:
    """Return the commitment to a document's subject."""
    framed = b"".join(map(frame, (id_type.encode(), id_value.encode(), salt)))
    return hashlib.sha256(tag("subject", version) + framed).digest()


# --- encoding -------------------------------------------------------------------------------------


def header_fields(header: PackageHeader) -> dict[str, Any]:
    """Return the JSON form of a header."""
    return {**asdict(header), "must_disclose": list(header.must_disclose)}


def leaf_fields(leaf: Leaf) -> list[Any]:
    """Return the JSON form of a disclosure."""
    return [leaf.index, leaf.path, leaf.kinds, int(leaf.type), leaf.value, leaf.salt.hex()]


def place_fields(place: BatchPlace | None) -> list[Any] | None:
    """Return the JSON form of a position in a batch; None if there is none."""
    if place is None:
        return None
    return [place.root.hex(), place.index, [step.hex() for step in place.path]]


def anchor_fields(item: Anchor) -> list[Any]:
    """Return the JSON form of an anchor."""
    return [
        item.audience,
        item.org,
        item.blind.hex(),
        item.anchor.hex(),
        item.registered_height,
        place_fields(item.batch),
        None if item.proof is None else proof_fields(item.proof),
    ]


def encode_package(package: Package) -> bytes:
    """Return the bytes of a package."""
    leaves = [leaf_fields(leaf) for leaf in package.disclosures]
    anchors = [anchor_fields(item) for item in package.anchors]
    is_first = package.header.v == FIRST_VERSION
    for row in leaves if is_first else ():
        del row[_KINDS_AT]
    for row in anchors if is_first else ():
        del row[_ORG_AT]
    return encode_canonical(
        {
            "format": FIRST_FORMAT if is_first else FORMAT,
            "header": header_fields(package.header),
            "disclosures": leaves,
            "leaves": [item.hex() for item in package.leaves],
            "anchors": anchors,
            "issuer_signature": package.issuer_signature.hex(),
            "subject_salt": package.subject_salt.hex(),
            "seed": package.seed.hex(),
        }
    )


# --- decoding -------------------------------------------------------------------------------------

_PACKAGE_KEYS = (
    "format",
    "header",
    "disclosures",
    "leaves",
    "anchors",
    "issuer_signature",
    "subject_salt",
    "seed",
)
_HEADER_INTEGERS = (
    "v",
    "issuer_org",
    "key_id",
    "report_time",
    "issued_at",
    "valid_from",
    "valid_until",
    "leaf_count",
    "sensitivity",
)
_HEADER_TEXTS = ("suite", "profile", "schema", "supersedes", "jurisdiction")
_HEADER_HEX = {"doc_id": 16, "root": 32, "subject_commitment": 32, "holder_key": 64}
_KINDS_AT, _ORG_AT = 2, 1
"""Where rows of disclosures and of anchors have what version 1 lacks."""
_HEADER_KEYS = (*_HEADER_INTEGERS, *_HEADER_TEXTS, *_HEADER_HEX, "must_disclose")


_FORMAT_NAMES = {
    "": "a package",
    "-request": "a request",
    "-presentation": "an unsealed presentation",
    "-erasure": "an erasure receipt",
    "-trust": "a trust file",
    "-ledger-consent": "a consent of the ledger",
}


def name_format(value: object) -> str:
    """Return what a file of a format is, as a person would call it."""
    if not isinstance(value, str):
        return "a file without a format"
    name = _FORMAT_NAMES.get(value[4:]) if value[:4] in {FIRST_FORMAT, FORMAT} else None
    return f"{name} ({value})" if name else f"a file of format {value[:40]!r}"


def read_format(value: object, wanted: str) -> None:
    """Refuse a value whose format is not the wanted one."""
    if isinstance(value, dict) and value.get("format") != wanted:
        found = name_format(value.get("format"))
        raise FormError(f"it is {found}, not {name_format(wanted)}", is_version=True)


def read_json(data: bytes, size_max: int = PACKAGE_BYTES_MAX) -> Any:
    """Return the value that canonical bytes of bounded size encode."""
    try:
        return decode_canonical(data, size_max)
    except CanonicalError as error:
        raise FormError(str(error)) from error


def decode_package(data: bytes) -> Package:
    """Decode a package of any version; `FormError` says what is wrong with its form."""
    raw = read_json(data)
    is_first = isinstance(raw, dict) and raw.get("format") == FIRST_FORMAT
    read_format(raw, FIRST_FORMAT if is_first else FORMAT)
    read_object(raw, _PACKAGE_KEYS, "package")
    header = read_header(raw["header"])
    if is_first != (header.v == FIRST_VERSION):
        raise FormError(f"format {raw['format']} with a header of version {header.v}")
    leaves, anchors = raw["disclosures"], raw["anchors"]
    if is_first:
        leaves = _insert(leaves, LEAVES_MAX, "disclosures", _KINDS_AT, "")
        anchors = _insert(anchors, ANCHORS_MAX, "anchors", _ORG_AT, 0)
    return Package(
        header,
        read_leaves(leaves, header.v),
        tuple(
            read_hex(item, 32, "leaves") for item in read_list(raw["leaves"], LEAVES_MAX, "leaves")
        ),
        tuple(read_anchor(item) for item in read_list(anchors, ANCHORS_MAX, "anchors")),
        read_hex(raw["issuer_signature"], 64, "issuer_signature"),
        read_hex(raw["subject_salt"], 32, "subject_salt"),
        read_hex(raw["seed"], SEALED_SEED_BYTES, "seed"),
    )


def _insert(value: object, size_max: int, what: str, at: int, missing: object) -> list[Any]:
    """Return rows of version 1 as rows of version 2, with what they lack."""
    return [
        [*row[:at], missing, *row[at:]] if isinstance(row, list) else row
        for row in read_list(value, size_max, what)
    ]


def read_header(value: object) -> PackageHeader:
    """Decode a header from a JSON value."""
    raw = read_object(value, _HEADER_KEYS, "header")
    profiles = [item.value for item in Profile]
    if (
        raw["v"] not in (VERSION, FIRST_VERSION)
        or raw["suite"] != SUITE
        or raw["profile"] not in profiles
    ):
        raise FormError(
            f"version {raw['v']!r} with suite {raw['suite']!r} and profile {raw['profile']!r} is "
            "not supported",
            is_version=True,
        )
    for name in _HEADER_INTEGERS:
        read_integer(raw[name], name)
    for name in _HEADER_TEXTS:
        read_text(raw[name], name)
    if raw["supersedes"]:
        read_hex(raw["supersedes"], 32, "supersedes")
    if raw["issuer_org"] > ORG_MAX or raw["key_id"] > ORG_MAX:
        raise FormError(f"issuer_org, key_id: integers from 0 to {ORG_MAX}")
    for name, size in _HEADER_HEX.items():
        read_hex(raw[name], size, name)
    paths = read_paths(raw["must_disclose"], LEAVES_MAX, "must_disclose")
    return PackageHeader(**{**raw, "must_disclose": paths, "profile": Profile(raw["profile"])})


def read_leaves(value: object, version: int) -> tuple[Leaf, ...]:
    """Decode disclosures, of a document of a version, from a JSON value."""
    return tuple(_read_leaf(item, version) for item in read_list(value, LEAVES_MAX, "disclosures"))


_SHOWN_TYPES = {int(kind): kind for kind in LeafType if kind is not LeafType.PAD}


def _read_leaf(raw: object, version: int) -> Leaf:
    index, path, kinds, kind, value, salt = read_row(raw, 6, "disclosures")
    read_integer(index, "disclosures: index", LEAVES_MAX - 1)
    read_integer(kind, "disclosures: type", LeafType.PAD)
    if kind not in _SHOWN_TYPES:
        raise FormError(f"disclosures: leaf type {kind} cannot be disclosed")
    read_path(path, "disclosures: path")
    read_text(kinds, "disclosures: kinds")
    read_text(value, "disclosures: value", STRING_MAX)
    leaf = Leaf(index, path, kinds, _SHOWN_TYPES[kind], value, read_hex(salt, 32, "salt"))
    check_leaf(leaf, version)
    return leaf


def read_anchor(raw: object) -> Anchor:
    """Decode an anchor from a JSON value."""
    audience, org, blind, anchor, height, place, proof = read_row(raw, 7, "anchors")
    return Anchor(
        read_text(audience, "audience"),
        read_integer(org, "organisation of an anchor", ORG_MAX),
        read_hex(blind, 32, "blind"),
        read_hex(anchor, 32, "anchor"),
        read_integer(height, "height of an anchor", INTEGER_MAX),
        None if place is None else read_place(place),
        None if proof is None else read_proof(proof),
    )


def read_place(raw: object) -> BatchPlace:
    """Decode a position in a batch from a JSON value."""
    root, index, path = read_row(raw, 3, "batch of an anchor")
    steps = read_list(path, BATCH_DEPTH_MAX, "path in a batch")
    return BatchPlace(
        read_hex(root, 32, "root of a batch"),
        read_integer(index, "index in a batch", 2**BATCH_DEPTH_MAX - 1),
        tuple(read_hex(step, 32, "path in a batch") for step in steps),
    )
