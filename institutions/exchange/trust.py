"""What a receiver trusts while offline: the chain's validators and the issuers' keys.

The receiver reads this from its own node while online and keeps it in a file. With it, a proof of
registration (`lowu.institutions.package.proof`) and an issuer's signature can be checked offline,
but not whether a document is still in force.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lowu.institutions.ledger.registry import KEYS_MAX, Registry
from lowu.institutions.package.canonical import encode_canonical
from lowu.institutions.package.format import read_format, read_json
from lowu.institutions.package.forms import (
    read_hex,
    read_integer,
    read_list,
    read_object,
    read_row,
    read_text,
)
from lowu.institutions.package.proof import (
    VALIDATORS_MAX,
    ProofError,
    Proven,
    RegistrationProof,
    Validators,
)
from lowu.institutions.package.signatures import PUBLIC_KEY_BYTES

FORMAT = "dvp1-trust"
ID_MAX = 0xFFFF
"""Highest number of an organisation or of its key."""


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A key with which an organisation signs documents."""

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
    """Time of the block at that height: the present is no earlier."""

    def key_of(self, org: int, key_id: int) -> bytes | None:
        """Return an issuer's key; None if it is not known."""
        for item in self.keys:
            if (item.org, item.key_id) == (org, key_id):
                return item.public_key
        return None

    def check_chain(self, proof: RegistrationProof, proven: Proven) -> None:
        """Raise `ProofError` unless a proof is of this chain and signed by its validators."""
        if (proof.chain_id, proof.group_id) != (self.chain_id, self.group_id):
            raise ProofError(f"it is of another chain: {proof.chain_id}/{proof.group_id}")
        if proven.validators != self.validators:
            raise ProofError("validators other than those known here signed the block")


async def read_trust(registry: Registry, keys: Iterable[tuple[int, int]]) -> Trust:
    """Ask the receiver's own node for the validators and the document keys.

    `keys` names the keys in genesis, by organisation and number; keys added since are found.
    Keys that are unknown to the node, or reported as compromised, are left out.
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
    """Return the bytes of a trust file."""
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
    """Decode a trust file; `FormError` says what is wrong with its form."""
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
