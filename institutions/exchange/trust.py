"""What a receiver takes for certain without a line: who validates the chain, and issuers' keys.

Read from its own node while there is one, and kept in a file. With it a proof of registration
(`institutions.package.proof`) and an issuer's signature can be checked anywhere; whether a document
is still in force cannot.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from institutions.ledger.registry import KEYS_MAX, Registry
from institutions.package.canonical import encode_canonical
from institutions.package.format import read_format, read_json
from institutions.package.forms import (
    read_hex,
    read_integer,
    read_list,
    read_object,
    read_row,
    read_text,
)
from institutions.package.proof import (
    VALIDATORS_MAX,
    ProofError,
    Proven,
    RegistrationProof,
    Validators,
)
from institutions.package.signatures import PUBLIC_KEY_BYTES

FORMAT = "dvp1-trust"
ID_MAX = 0xFFFF
"""Of organisations and of their keys."""


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A key that an organisation signs documents with."""

    org: int
    key_id: int
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Trust:
    """What a receiver's own node said at a height."""

    chain_id: str
    group_id: str
    validators: Validators
    keys: tuple[IssuerKey, ...]
    height: int
    time_s: int
    """Of that block: it is not earlier than this now."""

    def key_of(self, org: int, key_id: int) -> bytes | None:
        """Return an issuer's key; None if it is not among those known."""
        for item in self.keys:
            if (item.org, item.key_id) == (org, key_id):
                return item.public_key
        return None

    def check_chain(self, proof: RegistrationProof, proven: Proven) -> None:
        """Check that a proof is of this chain, signed by its validators; else `ProofError`."""
        if (proof.chain_id, proof.group_id) != (self.chain_id, self.group_id):
            raise ProofError(f"it is of another chain: {proof.chain_id}/{proof.group_id}")
        if proven.validators != self.validators:
            raise ProofError("others than the validators known here signed the block")


async def read_trust(registry: Registry, keys: Iterable[tuple[int, int]]) -> Trust:
    """Ask one's own node who validates, and for document keys.

    Those that genesis has are named, by organisation and number; those added since are found.
    What is unknown there, or reported compromised, is left out.
    """
    block = await registry.get_latest_block()
    chain_id, group_id, validators = await registry.get_chain()
    found = []
    for org, key_id in sorted({*keys, *await registry.find_keys()}):
        key = await registry.get_key(org, key_id)
        if key.is_known and not key.compromised_height:
            found.append(IssuerKey(org, key_id, key.public_key))
    return Trust(chain_id, group_id, validators, tuple(found), block["number"], block["time"])


def encode_trust(trust: Trust) -> bytes:
    """Return the bytes of a file."""
    return encode_canonical(
        {
            "format": FORMAT,
            "chain_id": trust.chain_id,
            "group_id": trust.group_id,
            "validators": [[node_id.hex(), weight] for node_id, weight in trust.validators],
            "keys": [[item.org, item.key_id, item.public_key.hex()] for item in trust.keys],
            "height": trust.height,
            "time_s": trust.time_s,
        }
    )


def decode_trust(data: bytes) -> Trust:
    """Return what a file says; `FormError` says what is wrong with its form."""
    raw = read_json(data)
    read_format(raw, FORMAT)
    read_object(raw, ("format", *Trust.__slots__), "trust")
    return Trust(
        chain_id=read_text(raw["chain_id"], "chain_id"),
        group_id=read_text(raw["group_id"], "group_id"),
        validators=tuple(
            _read_validator(row)
            for row in read_list(raw["validators"], VALIDATORS_MAX, "validators")
        ),
        keys=tuple(_read_key(row) for row in read_list(raw["keys"], KEYS_MAX, "keys")),
        height=read_integer(raw["height"], "height"),
        time_s=read_integer(raw["time_s"], "time_s"),
    )


def _read_validator(raw: object) -> tuple[bytes, int]:
    node_id, weight = read_row(raw, 2, "validators")
    return read_hex(node_id, 64, "validators"), read_integer(weight, "weight of a validator")


def _read_key(raw: object) -> IssuerKey:
    org, key_id, key = read_row(raw, 3, "keys")
    return IssuerKey(
        read_integer(org, "organisation of a key", ID_MAX),
        read_integer(key_id, "number of a key", ID_MAX),
        read_hex(key, PUBLIC_KEY_BYTES, "keys"),
    )
