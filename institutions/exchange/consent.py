"""Consent receipts: what a holder agrees to, and their hashes on the ledger.

A receipt names the document, the fields that may be shown, the receiver, the purpose and the
expiry. The holder signs it with the document's key. Only its hash is on chain, signed by a key made
for this one consent, so that the consents of one holder cannot be linked there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from lowu.contracts.account import Account
from lowu.contracts.registry import (
    CONSENT_LOG_ADDRESS,
    ConsentId,
    encode_grant,
    encode_withdraw,
)
from lowu.institutions.ledger.responses import TransactionReceipt
from lowu.institutions.ledger.transactor import Signer
from lowu.institutions.package.canonical import encode_canonical
from lowu.institutions.package.format import ORG_MAX, read_format, read_json
from lowu.institutions.package.forms import (
    FormError,
    covers,
    read_bool,
    read_hex,
    read_integer,
    read_object,
    read_paths,
    read_text,
)
from lowu.institutions.package.leaves import CONTAINERS, LEAVES_MAX, Leaf
from lowu.institutions.package.signatures import DocumentKey, is_signed_by
from lowu.institutions.package.tags import tag

LEDGER_FORMAT = "dvp2-ledger-consent"
LEDGER_BYTES_MAX = 4096


class Purpose(StrEnum):
    """Purpose for which a receiver may use a document."""

    LOAN = "LOAN"
    ACCOUNT = "ACCOUNT"
    CARD = "CARD"
    MORTGAGE = "MORTGAGE"
    KYC_REFRESH = "KYC_REFRESH"
    ADMISSION = "ADMISSION"
    CARE = "CARE"
    RESIDENCE = "RESIDENCE"


def read_purpose(value: object) -> Purpose:
    """Return one of the purposes; `FormError` if it is none."""
    if value not in list(Purpose):
        raise FormError(f"purpose: one of {', '.join(Purpose)}, not {str(value)[:40]!r}")
    return Purpose(str(value))


class Basis(StrEnum):
    """The law under which consent was given."""

    PIPL = "PIPL_SEPARATE_CONSENT"
    PDPO = "PDPO_PRESCRIBED_CONSENT"


@dataclass(frozen=True, slots=True)
class ConsentReceipt:
    """What a holder agreed to. Times in seconds since 1970; bytes in hex.

    `is_cross_border` and `is_sensitive` are separate consents (PIPL Arts. 29 and 39): each has to
    be given where it applies.
    """

    receipt_id: str
    holder_key: str
    doc_id: str
    provider_org: int
    receiver: str
    receiver_org: int
    purpose: str
    fields: tuple[str, ...]
    """Paths that may be shown, with everything below them."""
    basis: str
    is_cross_border: bool
    is_sensitive: bool
    retention_days: int
    onward_transfer: str
    """The area to which onward transfer is allowed; empty for none."""
    issued_at: int
    expires_at: int
    ledger_key: str
    """Address of the key, made for this consent, whose signature is on chain."""
    holder_signature: str = ""

    @property
    def digest(self) -> bytes:
        """The digest that is on chain, and that the holder signs."""
        fields = consent_fields(replace(self, holder_signature=""))
        del fields["holder_signature"]
        return hashlib.sha256(tag("consent") + encode_canonical(fields)).digest()

    @property
    def ledger_id(self) -> ConsentId:
        """Finds the consent on the ledger."""
        return bytes.fromhex(self.ledger_key), self.digest

    @property
    def is_signed(self) -> bool:
        """Whether the holder named in it signed it."""
        key, signature = bytes.fromhex(self.holder_key), bytes.fromhex(self.holder_signature)
        return is_signed_by(key, self.digest, signature)

    def signed(self, key: DocumentKey) -> ConsentReceipt:
        """Return the receipt with the holder's signature."""
        return replace(self, holder_signature=key.sign(self.digest).hex())


def is_agreed(leaf: Leaf, fields: Iterable[str]) -> bool:
    """Whether a consent to fields, with all below them, is one to show a leaf.

    The size of what contains an agreed field shows that a position is beyond its end.
    """
    agreed = list(fields)
    is_around = leaf.type in CONTAINERS and any(covers([leaf.path], item) for item in agreed)
    return is_around or covers(agreed, leaf.path)


def consent_fields(receipt: ConsentReceipt) -> dict[str, Any]:
    """Return the JSON form of a receipt."""
    return {**asdict(receipt), "fields": list(receipt.fields)}


def read_consent(value: object) -> ConsentReceipt:
    """Decode a receipt from a JSON value; `FormError` says what is wrong with its form."""
    raw = read_object(value, ConsentReceipt.__slots__, "consent")
    for name, size in {
        "receipt_id": 16,
        "holder_key": 64,
        "doc_id": 16,
        "ledger_key": 20,
        "holder_signature": 64,
    }.items():
        read_hex(raw[name], size, name)
    read_purpose(raw["purpose"])
    for name in ("receiver", "basis", "onward_transfer"):
        read_text(raw[name], name)
    for name in ("provider_org", "receiver_org"):
        read_integer(raw[name], name, ORG_MAX)
    for name in ("retention_days", "issued_at", "expires_at"):
        read_integer(raw[name], name)
    for name in ("is_cross_border", "is_sensitive"):
        read_bool(raw[name], name)
    if raw["basis"] not in list(Basis):
        raise FormError(f"basis {raw['basis']!r} is not known", is_version=True)
    return ConsentReceipt(**{**raw, "fields": read_paths(raw["fields"], LEAVES_MAX, "fields")})


# --- on the ledger --------------------------------------------------------------------------------


def ledger_address(private_key: bytes) -> str:
    """Return the address of a ledger key, in hex."""
    return Account(private_key).address[2:].lower()


@dataclass(frozen=True, slots=True)
class LedgerConsent:
    """Data that logs a consent or its withdrawal, without revealing the holder."""

    ledger_key: bytes
    """Address of the key that signs."""
    digest: bytes
    expires_at: int
    v: int
    r: bytes
    s: bytes
    is_withdrawal: bool = False

    @property
    def id(self) -> ConsentId:
        """Finds the consent on the ledger."""
        return self.ledger_key, self.digest


def encode_ledger_consent(item: LedgerConsent) -> bytes:
    """Return the bytes that a holder hands to the institution that logs the consent."""
    fields = {
        "format": LEDGER_FORMAT,
        "ledger_key": item.ledger_key.hex(),
        "digest": item.digest.hex(),
        "expires_at": item.expires_at,
        "v": item.v,
        "r": item.r.hex(),
        "s": item.s.hex(),
        "is_withdrawal": item.is_withdrawal,
    }
    return encode_canonical(fields)


def decode_ledger_consent(data: bytes) -> LedgerConsent:
    """Decode what a holder has signed; `FormError` says what is wrong with its form."""
    value = read_json(data, LEDGER_BYTES_MAX)
    raw = read_object(value, ("format", *LedgerConsent.__slots__), "consent for the ledger")
    read_format(raw, LEDGER_FORMAT)
    return LedgerConsent(
        read_hex(raw["ledger_key"], 20, "ledger_key"),
        read_hex(raw["digest"], 32, "digest"),
        read_integer(raw["expires_at"], "expires_at"),
        read_integer(raw["v"], "v", 255),
        read_hex(raw["r"], 32, "r"),
        read_hex(raw["s"], 32, "s"),
        read_bool(raw["is_withdrawal"], "is_withdrawal"),
    )


def sign_for_ledger(
    private_key: bytes, chain_id: int, receipt: ConsentReceipt, *, is_withdrawal: bool
) -> LedgerConsent:
    """Sign a consent or its withdrawal for the ledger."""
    digest, expires_at = receipt.digest, receipt.expires_at
    signature = sign_consent(private_key, chain_id, digest, expires_at, is_withdrawal=is_withdrawal)
    key = bytes.fromhex(receipt.ledger_key)
    return LedgerConsent(key, digest, expires_at, *signature, is_withdrawal)


def sign_consent(
    private_key: bytes, chain_id: int, digest: bytes, expires_at: int, *, is_withdrawal: bool
) -> tuple[int, bytes, bytes]:
    """Return the signature (v, r, s) that ConsentLog takes for a consent: of its `messageOf`."""
    types = ("string", "uint256", "address", "bytes32", "uint64", "bool")
    address = "0x" + CONSENT_LOG_ADDRESS.hex()
    parts = ("lowu-consent-2", chain_id, address, digest, expires_at, is_withdrawal)
    v, r, s = Account(private_key).sign_digest(keccak(encode(types, parts)))
    return 27 + v, r.to_bytes(32, "big"), s.to_bytes(32, "big")


async def log_consent(signer: Signer, item: LedgerConsent) -> TransactionReceipt:
    """Log a consent that its holder signed; return the receipt. Repeating it is safe."""
    call = encode_grant(item.id, item.expires_at, (item.v, item.r, item.s))
    return await signer.send(CONSENT_LOG_ADDRESS, call)


async def end_consent(signer: Signer, item: LedgerConsent) -> TransactionReceipt:
    """Withdraw a consent with its holder's signature; return the receipt."""
    call = encode_withdraw(item.id, item.expires_at, (item.v, item.r, item.s))
    return await signer.send(CONSENT_LOG_ADDRESS, call)
