"""What a reader knows of the chain from its own node: validators, organisations and keys.

A receiver keeps it in a file for when it is offline: with it, a proof of registration
(`lowu.institutions.package.proof`) and an issuer's signature can be checked, but not whether a
document is still in force. A holder checks with it that a request is from whom it says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak

from lowu.contracts.curve import SIGNATURE_BYTES
from lowu.contracts.registry import Jurisdiction, Org, OrgKey, OrgStatus
from lowu.institutions.exchange.request import Request
from lowu.institutions.ledger.registry import KEYS_MAX, ORGS_MAX, Registry
from lowu.institutions.package.canonical import encode_canonical
from lowu.institutions.package.format import ORG_MAX, read_format, read_json
from lowu.institutions.package.forms import (
    FormError,
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
    check_quorum,
)
from lowu.institutions.package.signatures import PUBLIC_KEY_BYTES
from lowu.institutions.package.tags import tag

FORMAT = "dvp2-trust"
HANDOVERS_MAX = 1_024
AGE_MAX_S = 30 * 86_400
"""A trust file older than this says too little about the present."""


class UnknownValidatorsError(Exception):
    """A proof is of this chain, but under validators that are not known here at its height."""


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key with which an organisation signs documents and requests. Height 0 means never."""

    org: int
    key_id: int
    public_key: bytes
    from_height: int = 0
    retired_height: int = 0
    compromised_height: int = 0

    @property
    def is_usable(self) -> bool:
        """Whether it is in use."""
        return not self.retired_height and not self.compromised_height


@dataclass(frozen=True, slots=True)
class TrustedOrg:
    """An organisation, by its number and the keccak-256 of its name."""

    org: int
    name_hash: bytes
    jurisdiction: int
    status: int
    """As in `OrgStatus`."""
    suspended_until: int = 0
    """Time to which a regulator has suspended it; 0 if none has."""


@dataclass(frozen=True, slots=True)
class Handover:
    """The validators from a height on, signed by a quorum of those before."""

    height: int
    validators: Validators
    signatures: tuple[tuple[int, bytes], ...]
    """Signer's index among the validators before, and r ‖ s ‖ v."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What a reader's own node said at a height."""

    chain_id: str
    group_id: str
    ledger: int
    """The number that transactions are signed for."""
    validators: Validators
    """Those of the first blocks; `handovers` has those after them."""
    orgs: tuple[TrustedOrg, ...]
    keys: tuple[TrustedKey, ...]
    height: int
    time_s: int
    """Time of the block at that height: the present is no earlier."""
    handovers: tuple[Handover, ...] = ()

    def find_key(self, org: int, key_id: int) -> TrustedKey | None:
        """Return an organisation's key; None if it is not known."""
        wanted = (org, key_id)
        return next((item for item in self.keys if (item.org, item.key_id) == wanted), None)

    def find_org(self, org: int) -> TrustedOrg | None:
        """Return an organisation; None if it is not known."""
        return next((item for item in self.orgs if item.org == org), None)

    def is_stale(self, now_s: int) -> bool:
        """Whether too much time has passed since."""
        return now_s - self.time_s > AGE_MAX_S

    def check_chain(self, proof: RegistrationProof, proven: Proven) -> None:
        """Check that a proof is of this chain and signed by its validators.

        Raises:
            ProofError: it is of another chain, or a hand-over is not signed.
            UnknownValidatorsError: nothing here says who the validators were at its height.
        """
        if (proof.chain_id, proof.group_id) != (self.chain_id, self.group_id):
            raise ProofError(f"it is of another chain: {proof.chain_id}/{proof.group_id}")
        if proven.validators != self._validators_at(proven.height):
            raise UnknownValidatorsError(
                f"validators other than those known here signed block {proven.height}"
            )

    def _validators_at(self, height: int) -> Validators:
        current = self.validators
        for item in self.handovers:
            if height < item.height:
                break
            check_quorum(current, handover_digest(self, item), item.signatures)
            current = item.validators
        return current

    def check_request(self, request: Request, now_s: int) -> TrustedOrg:
        """Return the organisation that makes a request, once it is certain that it does.

        Raises:
            FormError: it is for another ledger, over, not from the organisation that it names, or
                not signed by that organisation's key in use.
        """
        if request.ledger != self.ledger:
            raise FormError(f"the request is for ledger {request.ledger}, not for {self.ledger}")
        if now_s > request.expires_at:
            raise FormError("the request is over; ask the receiver for a new one")
        org, key = self.find_org(request.receiver_org), None
        if org is None or org.name_hash != keccak(text=request.receiver):
            raise FormError(
                f"the request names {request.receiver}, but organisation {request.receiver_org} is "
                "not that; do not answer it"
            )
        if org.status != OrgStatus.ACTIVE or now_s < org.suspended_until:
            raise FormError(
                f"{request.receiver} is suspended, or no member any more; do not answer it"
            )
        key = self.find_key(request.receiver_org, request.key_id)
        if key is None or not key.is_usable or not request.is_signed_by(key.public_key):
            raise FormError(
                f"the request is not signed by a key of {request.receiver} that is in use; do not "
                "answer it"
            )
        return org


async def read_trust(
    registry: Registry, orgs: Iterable[int], keys: Iterable[tuple[int, int]]
) -> Trust:
    """Ask the reader's own node for the validators, the organisations and their document keys.

    `orgs` and `keys` name those of genesis (keys by organisation and number); those added since
    are found. Those that are unknown to the node are left out.
    """
    block = await registry.get_latest_block()
    chain_id, group_id, validators = await registry.get_chain()
    numbers = sorted({*orgs, *await registry.find_orgs()})
    pairs = sorted({*keys, *await registry.find_keys()})
    found = zip(numbers, await registry.get_orgs(numbers), strict=True)
    known = zip(pairs, await registry.get_keys(pairs), strict=True)
    return Trust(
        chain_id=chain_id,
        group_id=group_id,
        ledger=await registry.get_ledger(),
        validators=validators,
        orgs=tuple(trust_org(number, org) for number, org in found if org.status),
        keys=tuple(trust_key(*pair, key) for pair, key in known if key.is_known),
        height=block["number"],
        time_s=block["time"],
    )


def trust_org(number: int, org: Org) -> TrustedOrg:
    """Return an organisation of the ledger as a trust file has it."""
    return TrustedOrg(
        number, org.meta_hash, org.jurisdiction, int(org.status), org.suspended_until_s
    )


def trust_key(org: int, key_id: int, key: OrgKey) -> TrustedKey:
    """Return a key of the ledger as a trust file has it."""
    heights = (key.from_height, key.retired_height, key.compromised_height)
    return TrustedKey(org, key_id, key.public_key, *heights)


# --- encoding -------------------------------------------------------------------------------------


def _validator_rows(validators: Validators) -> list[Any]:
    return [[node_id.hex(), weight] for node_id, weight in validators]


def handover_digest(trust: Trust, item: Handover) -> bytes:
    """Return the digest that the validators before a hand-over sign."""
    row = [trust.chain_id, trust.group_id, item.height, _validator_rows(item.validators)]
    return bytes(keccak(tag("handover") + encode_canonical(row)))


def encode_trust(trust: Trust) -> bytes:
    """Return the bytes of a trust file."""
    return encode_canonical(
        {
            "format": FORMAT,
            "chain_id": trust.chain_id,
            "group_id": trust.group_id,
            "ledger": trust.ledger,
            "validators": _validator_rows(trust.validators),
            "handovers": [
                [
                    item.height,
                    _validator_rows(item.validators),
                    [[index, signature.hex()] for index, signature in item.signatures],
                ]
                for item in trust.handovers
            ],
            "orgs": [
                [
                    item.org,
                    item.name_hash.hex(),
                    item.jurisdiction,
                    item.status,
                    item.suspended_until,
                ]
                for item in trust.orgs
            ],
            "keys": [
                [
                    item.org,
                    item.key_id,
                    item.public_key.hex(),
                    item.from_height,
                    item.retired_height,
                    item.compromised_height,
                ]
                for item in trust.keys
            ],
            "height": trust.height,
            "time_s": trust.time_s,
        }
    )


def decode_trust(data: bytes) -> Trust:
    """Decode a trust file; `FormError` says what is wrong with its form."""
    raw = read_json(data)
    read_format(raw, FORMAT)
    read_object(raw, ("format", *Trust.__slots__), "trust")
    handovers = tuple(
        _read_handover(row) for row in read_list(raw["handovers"], HANDOVERS_MAX, "handovers")
    )
    heights = [0, *(item.height for item in handovers)]
    if heights != sorted(set(heights)):
        raise FormError("handovers: in ascending order of their heights")
    return Trust(
        chain_id=read_text(raw["chain_id"], "chain_id"),
        group_id=read_text(raw["group_id"], "group_id"),
        ledger=read_integer(raw["ledger"], "ledger"),
        validators=_read_validators(raw["validators"]),
        orgs=tuple(_read_org(row) for row in read_list(raw["orgs"], ORGS_MAX, "orgs")),
        keys=tuple(_read_key(row) for row in read_list(raw["keys"], KEYS_MAX, "keys")),
        height=read_integer(raw["height"], "height"),
        time_s=read_integer(raw["time_s"], "time_s"),
        handovers=handovers,
    )


def _read_validators(value: object) -> Validators:
    rows = [
        read_row(row, 2, "validators") for row in read_list(value, VALIDATORS_MAX, "validators")
    ]
    return tuple(
        (read_hex(node_id, 64, "validators"), read_integer(weight, "weight of a validator"))
        for node_id, weight in rows
    )


def _read_handover(raw: object) -> Handover:
    height, validators, signatures = read_row(raw, 3, "handovers")
    rows = [
        read_row(row, 2, "signatures of a hand-over")
        for row in read_list(signatures, VALIDATORS_MAX, "signatures of a hand-over")
    ]
    return Handover(
        read_integer(height, "height of a hand-over"),
        _read_validators(validators),
        tuple(
            (
                read_integer(index, "signer of a hand-over", VALIDATORS_MAX),
                read_hex(signature, SIGNATURE_BYTES, "signature of a hand-over"),
            )
            for index, signature in rows
        ),
    )


def _read_org(raw: object) -> TrustedOrg:
    org, name_hash, jurisdiction, status, suspended_until = read_row(raw, 5, "orgs")
    return TrustedOrg(
        read_integer(org, "number of an organisation", ORG_MAX),
        read_hex(name_hash, 32, "name of an organisation"),
        read_integer(jurisdiction, "jurisdiction of an organisation", max(Jurisdiction)),
        read_integer(status, "status of an organisation", max(OrgStatus)),
        read_integer(suspended_until, "end of an organisation's suspension"),
    )


def _read_key(raw: object) -> TrustedKey:
    org, key_id, key, *heights = read_row(raw, 6, "keys")
    return TrustedKey(
        read_integer(org, "organisation of a key", ORG_MAX),
        read_integer(key_id, "number of a key", ORG_MAX),
        read_hex(key, PUBLIC_KEY_BYTES, "keys"),
        *(read_integer(height, "height of a key") for height in heights),
    )
