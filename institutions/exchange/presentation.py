"""A presentation: what a holder shows to one receiver, once (docs/PACKAGE.md).

It holds the header, the chosen fields, the hashes that lead from them to the root, the receiver's
anchor, the consent, and the holder's signature over all of this and the digest of the request. It
travels sealed to the request's key (HPKE, RFC 9180).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from lowu.institutions.exchange.consent import ConsentReceipt, consent_fields, read_consent
from lowu.institutions.exchange.request import Request
from lowu.institutions.package.canonical import encode_canonical
from lowu.institutions.package.containers import choose
from lowu.institutions.package.format import (
    PACKAGE_BYTES_MAX,
    Anchor,
    Package,
    PackageHeader,
    anchor_fields,
    header_fields,
    leaf_fields,
    read_anchor,
    read_format,
    read_header,
    read_json,
    read_leaves,
)
from lowu.institutions.package.forms import (
    FormError,
    read_hex,
    read_list,
    read_object,
)
from lowu.institutions.package.leaves import LEAVES_MAX, Leaf
from lowu.institutions.package.multiproof import collect_siblings
from lowu.institutions.package.signatures import DocumentKey, is_signed_by
from lowu.institutions.package.tags import tag

FORMAT = "dvp2-presentation"
NONCE_BYTES = 16
PASSWORD_PASSES, PASSWORD_KIB, PASSWORD_LANES = 3, 64 * 1024, 1
"""Cost of Argon2id for each guess at a password (RFC 9106, with less memory and one lane)."""


@dataclass(frozen=True, slots=True)
class Presentation:
    """The data that one receiver is shown."""

    header: PackageHeader
    disclosures: tuple[Leaf, ...]
    hashes: tuple[bytes, ...]
    """Hashes of the leaves shown, in the same order; they reveal which leaf was changed."""
    siblings: tuple[bytes, ...]
    anchor: Anchor
    issuer_signature: bytes
    subject_salt: bytes
    consent: ConsentReceipt | None
    request: bytes
    """Digest of the request that it answers."""
    nonce: bytes
    """The request's nonce, by which the receiver finds it."""
    holder_signature: bytes = b""

    @property
    def digest(self) -> bytes:
        """The digest that the holder signs: of everything."""
        fields = _fields(replace(self, holder_signature=b""))
        return hashlib.sha256(tag("present") + encode_canonical(fields)).digest()

    @property
    def id(self) -> bytes:
        """The id that is used up on chain once this presentation is accepted."""
        return hashlib.sha256(tag("use") + self.anchor.anchor + self.request).digest()

    def signed(self, key: DocumentKey) -> Presentation:
        """Return the presentation signed with a holder's key."""
        return replace(self, holder_signature=key.sign(self.digest))

    @property
    def is_signed(self) -> bool:
        """Whether the holder named in the header signed it."""
        key = bytes.fromhex(self.header.holder_key)
        return is_signed_by(key, self.digest, self.holder_signature)


def build_presentation(
    package: Package,
    request: Request,
    consent: ConsentReceipt | None,
    fields: Iterable[str],
) -> Presentation:
    """Return an unsigned presentation, for the requesting receiver, of fields.

    Raises:
        KeyError: the document has no anchor for that receiver.
        ValueError: it lacks one of the fields, none is named, or the package is inconsistent.
    """
    shown = tuple(choose(package.disclosures, fields, package.header.v))
    if not shown:
        raise ValueError(f"document {package.header.doc_id}: none of its fields is asked for")
    if any(leaf.index >= len(package.leaves) for leaf in shown):
        raise ValueError(f"document {package.header.doc_id}: a field without a leaf")
    return Presentation(
        header=package.header,
        disclosures=shown,
        hashes=tuple(package.leaves[leaf.index] for leaf in shown),
        siblings=collect_siblings(package.leaves, {leaf.index for leaf in shown}),
        anchor=package.anchor_for(request.receiver),
        issuer_signature=package.issuer_signature,
        subject_salt=package.subject_salt,
        consent=consent,
        request=request.digest,
        nonce=bytes.fromhex(request.nonce),
    )


# --- encoding -------------------------------------------------------------------------------------


def _fields(item: Presentation) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "header": header_fields(item.header),
        "disclosures": [leaf_fields(leaf) for leaf in item.disclosures],
        "hashes": [value.hex() for value in item.hashes],
        "siblings": [value.hex() for value in item.siblings],
        "anchor": anchor_fields(item.anchor),
        "issuer_signature": item.issuer_signature.hex(),
        "subject_salt": item.subject_salt.hex(),
        "consent": None if item.consent is None else consent_fields(item.consent),
        "request": item.request.hex(),
        "nonce": item.nonce.hex(),
        "holder_signature": item.holder_signature.hex(),
    }


def encode_presentation(item: Presentation) -> bytes:
    """Return the bytes of a presentation."""
    return encode_canonical(_fields(item))


def decode_presentation(data: bytes) -> Presentation:
    """Decode a presentation; `FormError` says what is wrong with its form."""
    raw = read_json(data)
    read_format(raw, FORMAT)
    read_object(raw, ("format", *Presentation.__slots__), "presentation")
    signature = raw["holder_signature"]
    header = read_header(raw["header"])
    return Presentation(
        header=header,
        disclosures=read_leaves(raw["disclosures"], header.v),
        hashes=_read_hashes(raw["hashes"], "hashes"),
        siblings=_read_hashes(raw["siblings"], "siblings"),
        anchor=read_anchor(raw["anchor"]),
        issuer_signature=read_hex(raw["issuer_signature"], 64, "issuer_signature"),
        subject_salt=read_hex(raw["subject_salt"], 32, "subject_salt"),
        consent=None if raw["consent"] is None else read_consent(raw["consent"]),
        request=read_hex(raw["request"], 32, "request"),
        nonce=read_hex(raw["nonce"], NONCE_BYTES, "nonce"),
        holder_signature=b"" if signature == "" else read_hex(signature, 64, "holder_signature"),
    )


def _read_hashes(value: object, what: str) -> tuple[bytes, ...]:
    return tuple(read_hex(item, 32, what) for item in read_list(value, LEAVES_MAX, what))


# --- sealing --------------------------------------------------------------------------------------


def _suite() -> hpke.Suite:
    return hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def _seal_info(nonce: bytes, password: str) -> bytes:
    """A password travels by another channel; each guess at it costs one Argon2id."""
    info = tag("seal") + nonce
    if not password:
        return info
    derivation = Argon2id(
        salt=nonce,
        length=32,
        iterations=PASSWORD_PASSES,
        lanes=PASSWORD_LANES,
        memory_cost=PASSWORD_KIB,
    )
    return info + derivation.derive(password.encode())


def seal(data: bytes, request: Request, password: str = "") -> bytes:
    """Seal a presentation's bytes so that only the maker of the request can read them."""
    key = X25519PublicKey.from_public_bytes(bytes.fromhex(request.sealing_key))
    nonce = bytes.fromhex(request.nonce)
    sealed = _suite().encrypt(data, key, _seal_info(nonce, password))
    return nonce + bytes(sealed)


def unseal(sealed: bytes, private_key: bytes, password: str = "") -> bytes:
    """Open what was sealed to a key; `FormError` if key or password do not match."""
    if not NONCE_BYTES < len(sealed) <= PACKAGE_BYTES_MAX:
        raise FormError("not a sealed presentation")
    info = _seal_info(sealed[:NONCE_BYTES], password)
    key = X25519PrivateKey.from_private_bytes(private_key)
    try:
        return bytes(_suite().decrypt(sealed[NONCE_BYTES:], key, info))
    except (InvalidTag, ValueError) as error:
        raise FormError("not sealed to this receiver, or with another password") from error
