"""Typed bindings of the registry's contracts: addresses, roles, states, errors, calls.

The numbers here are frozen: they are part of the on-chain interface.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

from lowu.contracts.abi import Function, load_artifact

ORG_REGISTRY_ADDRESS = bytes.fromhex("000000000000000000000000000000000000a001")
HASH_REGISTRY_ADDRESS = bytes.fromhex("000000000000000000000000000000000000a002")
CONSENT_LOG_ADDRESS = bytes.fromhex("000000000000000000000000000000000000a003")
VERIFICATION_LOG_ADDRESS = bytes.fromhex("000000000000000000000000000000000000a004")
GOVERNANCE_ADDRESS = bytes.fromhex("000000000000000000000000000000000000a005")
SYSTEM_CONFIG_ADDRESS = (0x1000).to_bytes(20, "big")
CONSENSUS_ADDRESS = (0x1003).to_bytes(20, "big")
"""Where FISCO BCOS has these contracts in Solidity's form."""
ADDRESSES = {
    "OrgRegistry": ORG_REGISTRY_ADDRESS,
    "HashRegistry": HASH_REGISTRY_ADDRESS,
    "ConsentLog": CONSENT_LOG_ADDRESS,
    "VerificationLog": VERIFICATION_LOG_ADDRESS,
    "Governance": GOVERNANCE_ADDRESS,
    "Consensus": CONSENSUS_ADDRESS,
    "SystemConfig": SYSTEM_CONFIG_ADDRESS,
}
"""The contracts of genesis, by the names of their artifacts."""
"""Addresses at which genesis deploys the contracts."""

ERROR_SELECTOR = keccak(text="RegistryError(uint16)")[:4]


class Jurisdiction(IntEnum):
    """Jurisdiction of an organisation; also a side of a network."""

    SZ = 1
    HK = 2
    MO = 3
    SG = 4


class Role(IntFlag):
    """Roles of an organisation or account: a bit mask."""

    ADMIN = 1
    ISSUER = 2
    VERIFIER = 4
    WITNESS = 8
    OPERATOR = 16
    REGULATOR = 32
    GOVERNOR = 64


class AnchorState(IntEnum):
    """State of a record. Readers derive EXPIRED and STALE, which are never stored."""

    NONE = 0
    ACTIVE = 1
    PENDING_WITNESS = 2
    SUSPENDED = 3
    REVOKED = 4
    SUPERSEDED = 5
    ERASED = 6


class OrgStatus(IntEnum):
    """Status of an organisation."""

    UNKNOWN = 0
    ACTIVE = 1
    SUSPENDED = 2
    EXITED = 3


class SchemaStatus(IntEnum):
    """Status of a document schema."""

    UNKNOWN = 0
    ACTIVE = 1
    PAUSED = 2
    DEPRECATED = 3


class AnchorKind(IntEnum):
    """What a record's anchor stands for."""

    SINGLE = 0
    BATCH = 1


class ProposalStatus(IntEnum):
    """Status of a consortium proposal."""

    UNKNOWN = 0
    OPEN = 1
    PASSED = 2
    REJECTED = 3


class VerdictClass(IntEnum):
    """The class of a verdict: all that is logged of it on chain."""

    ACCEPT = 1
    REJECT = 2
    INDETERMINATE = 3


class Suite(IntEnum):
    """Hash and signature suite of an anchored document."""

    SHA256_P256 = 1
    SM3_SM2 = 2
    KECCAK_SECP256K1 = 3


class RevokeReason(IntEnum):
    """Coarse reasons: a rare, precise one would tell observers too much (threat T4)."""

    CORRECTED = 1
    DISPUTED = 2
    ISSUED_IN_ERROR = 3
    SUBJECT_REQUEST = 4
    KEY_COMPROMISED = 5
    ERASED = 6
    OTHER = 15


class RegistryErrorCode(IntEnum):
    """Frozen error numbers: 1xxx authorisation, 2xxx input, 3xxx state, 4xxx policy, 5xxx votes."""

    UNKNOWN_ACCOUNT = 1001
    ROLE_REQUIRED = 1002
    ORG_NOT_ACTIVE = 1003
    NOT_ACCREDITED = 1004
    KEY_NOT_VALID = 1005
    SIGNATURE_INVALID = 1006
    ZERO_ANCHOR = 2001
    BAD_SCHEMA = 2002
    BAD_SUITE = 2003
    BAD_VALIDITY = 2004
    BAD_PROOF = 2005
    BATCH_LIMIT = 2006
    MALFORMED = 2007
    ALREADY_REGISTERED_CONFLICT = 3001
    NOT_FOUND = 3002
    NOT_ACTIVE = 3003
    ALREADY_REVOKED = 3004
    TERMINAL_STATE = 3005
    ALREADY_WITNESSED = 3006
    SELF_WITNESS = 3007
    PRESENTATION_CONSUMED = 3008
    CONSENT_NOT_LIVE = 3009
    QUOTA_EXCEEDED = 4001
    WITNESS_REQUIRED = 4002
    JURISDICTION_RULE = 4003
    SCHEMA_PAUSED = 4004
    NO_SUCH_PROPOSAL = 5001
    ALREADY_VOTED = 5002
    QUORUM_NOT_BOUNDARY_SAFE = 5003
    LAST_SEALER = 5004


@dataclass(frozen=True, slots=True)
class AnchorRecord:
    """A record of HashRegistry. Heights and times are those of blocks; times are in seconds."""

    key_id: int
    schema: int
    suite: int
    flags: int
    state: AnchorState
    reason: int
    valid_until_day: int
    registered_height: int
    registered_time: int
    kind: AnchorKind
    witness_count: int
    state_height: int
    """Height at which it entered its state."""
    count: int
    """Leaves of a batch, else 0."""
    min_witness: int
    """Number of witnesses required by its schema's policy at registration."""
    is_counted: bool
    """Whether it counts against its issuer's quota of outstanding registrations."""
    superseded_by: bytes


@dataclass(frozen=True, slots=True)
class LedgerSchema:
    """A document schema with its policy."""

    status: SchemaStatus
    jurisdiction: int
    """0 for any."""
    min_witness: int
    is_cross_witnessed: bool
    sensitivity: int
    version: int
    max_age_s: int
    """0 for no limit."""
    registered_height: int
    status_height: int
    schema_hash: bytes
    must_disclose_hash: bytes


@dataclass(frozen=True, slots=True)
class Consent:
    """A consent in the log. Height 0 means that the event has not happened."""

    granted_height: int
    withdrawn_height: int
    expires_at_s: int


@dataclass(frozen=True, slots=True)
class Org:
    """An organisation of OrgRegistry."""

    meta_hash: bytes
    jurisdiction: int
    roles: int
    status: OrgStatus
    admitted_height: int
    status_height: int
    quota_per_block: int
    """Most registrations in a block; 0 for no limit."""
    quota_outstanding: int
    """Most registrations in force or suspended; 0 for no limit."""
    suspended_until_s: int
    """Block time to which a regulator has suspended it; 0 if none has."""

    def is_suspended(self, now_s: int) -> bool:
        """Whether a vote, or at block time `now_s` a regulator, keeps it from all but voting."""
        return self.status is OrgStatus.SUSPENDED or now_s < self.suspended_until_s


@dataclass(frozen=True, slots=True)
class OrgKey:
    """A document-signing key. Height 0 means that the event has not happened."""

    suite: int
    from_height: int
    retired_height: int
    compromised_height: int
    public_key: bytes

    @property
    def is_known(self) -> bool:
        """Whether the key was ever added."""
        return self.suite != 0

    @property
    def is_usable(self) -> bool:
        """Whether the ledger accepts registrations with it."""
        return self.is_known and not self.retired_height and not self.compromised_height

    def was_usable(self, height: int) -> bool:
        """Whether it counted in the block at `height`, from all that is known now."""
        ends = [end for end in (self.retired_height, self.compromised_height) if end]
        return self.is_known and self.from_height <= height and all(height < end for end in ends)


@dataclass(frozen=True, slots=True)
class Accreditation:
    """An organisation's right to register documents of a schema; `until_height` 0: no end."""

    is_granted: bool
    from_height: int
    until_height: int

    def covers(self, height: int) -> bool:
        """Whether it was in force in the block at `height`."""
        is_ended = self.until_height != 0 and height >= self.until_height
        return self.is_granted and self.from_height <= height and not is_ended


def org_function(name: str) -> Function:
    """Return a function of OrgRegistry."""
    return load_artifact("OrgRegistry").functions[name]


def hash_function(name: str) -> Function:
    """Return a function of HashRegistry."""
    return load_artifact("HashRegistry").functions[name]


def consent_function(name: str) -> Function:
    """Return a function of ConsentLog."""
    return load_artifact("ConsentLog").functions[name]


def verification_function(name: str) -> Function:
    """Return a function of VerificationLog."""
    return load_artifact("VerificationLog").functions[name]


ConsentId = tuple[bytes, bytes]
"""The address of the ledger key that signs a consent, and the consent's digest."""
NO_CONSENT: ConsentId = (bytes(20), bytes(32))


def encode_grant(
    consent: ConsentId, expires_at_s: int, signature: tuple[int, bytes, bytes]
) -> bytes:
    """Return the call data that logs a consent, with its ledger key's signature (v, r, s)."""
    return consent_function("grant").encode_call(*consent, expires_at_s, *signature)


def encode_withdraw(
    consent: ConsentId, expires_at_s: int, signature: tuple[int, bytes, bytes]
) -> bytes:
    """Return the call data that withdraws a consent, with its ledger key's signature (v, r, s)."""
    return consent_function("withdraw").encode_call(*consent, expires_at_s, *signature)


def encode_consume(
    presentation: bytes, consent: ConsentId, verdict: VerdictClass, origin: Jurisdiction
) -> bytes:
    """Return the call data that consumes a presentation under a consent, or `NO_CONSENT`.

    `origin` is the jurisdiction of the document's issuer.
    """
    call = verification_function("consume")
    return call.encode_call(presentation, *consent, int(verdict), int(origin))


def encode_register_anchor(
    anchor: bytes,
    *,
    schema: int,
    key_id: int = 1,
    valid_until_day: int = 0,
    suite: Suite = Suite.SHA256_P256,
    flags: int = 0,
) -> bytes:
    """Return the call data that registers an anchor; day 0 means valid without end."""
    call = hash_function("registerAnchor")
    return call.encode_call(anchor, schema, key_id, valid_until_day, int(suite), flags)


def encode_register_batch(
    root: bytes,
    count: int,
    *,
    schema: int,
    key_id: int = 1,
    valid_until_day: int = 0,
    suite: Suite = Suite.SHA256_P256,
    flags: int = 0,
) -> bytes:
    """Return the call data that registers the root of a tree of so many anchors."""
    call = hash_function("registerBatch")
    return call.encode_call(root, count, schema, key_id, valid_until_day, int(suite), flags)


def encode_revoke(anchor: bytes, reason: RevokeReason, since_height: int = 0) -> bytes:
    """Return the call data that revokes an anchor, as of a past block, or 0 for now."""
    return hash_function("revoke").encode_call(anchor, int(reason), since_height)


def encode_supersede(anchor: bytes, newer: bytes) -> bytes:
    """Return the call data that supersedes an anchor by a newer one."""
    return hash_function("supersede").encode_call(anchor, newer)


def encode_get_record(issuer: int, anchor: bytes) -> bytes:
    """Return the call data that reads a record."""
    return hash_function("getRecord").encode_call(issuer, anchor)


def decode_record(data: bytes) -> AnchorRecord:
    """Return the record in the answer of getRecord."""
    fields = list(hash_function("getRecord").decode_output(data)[0])
    fields[4], fields[9] = AnchorState(fields[4]), AnchorKind(fields[9])
    return AnchorRecord(*fields)


def decode_schema(data: bytes) -> LedgerSchema:
    """Return the schema in the answer of getSchema."""
    status, *rest = org_function("getSchema").decode_output(data)[0]
    return LedgerSchema(SchemaStatus(status), *rest)


def decode_consent(data: bytes) -> Consent:
    """Return the consent in the answer of getConsent."""
    return Consent(*consent_function("getConsent").decode_output(data)[0])


def decode_org(data: bytes) -> Org:
    """Return the organisation in the answer of getOrg."""
    meta, jurisdiction, roles, status, *rest = org_function("getOrg").decode_output(data)[0]
    return Org(meta, jurisdiction, roles, OrgStatus(status), *rest)


def decode_key(data: bytes) -> OrgKey:
    """Return the key in the answer of getKey."""
    return OrgKey(*org_function("getKey").decode_output(data)[0])


def decode_accreditations(data: bytes) -> tuple[Accreditation, ...]:
    """Return the windows in the answer of getAccreditations, the latest last."""
    (windows,) = org_function("getAccreditations").decode_output(data)
    return tuple(Accreditation(*window) for window in windows)


def decode_registry_error(data: bytes) -> RegistryErrorCode | None:
    """Return the frozen error number in revert data, or None if there is none."""
    if data[:4] != ERROR_SELECTOR:
        return None
    try:
        (code,) = decode(("uint16",), data[4:])
        return RegistryErrorCode(code)
    except (DecodingError, ValueError):
        return None
