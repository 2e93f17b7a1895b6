"""What is asked of the registry's contracts at once: the calls, and what their answers mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lowu.contracts.registry import (
    CONSENT_LOG_ADDRESS,
    HASH_REGISTRY_ADDRESS,
    NO_CONSENT,
    ORG_REGISTRY_ADDRESS,
    VERIFICATION_LOG_ADDRESS,
    Accreditation,
    AnchorKind,
    AnchorRecord,
    AnchorState,
    Consent,
    ConsentId,
    Jurisdiction,
    LedgerSchema,
    Org,
    OrgKey,
    RegistryErrorCode,
    consent_function,
    decode_accreditations,
    decode_consent,
    decode_key,
    decode_org,
    decode_record,
    decode_schema,
    encode_get_record,
    hash_function,
    org_function,
    verification_function,
)

Call = tuple[bytes, bytes]
"""A contract's address, and the call data."""


class RegistryRefused(Exception):
    """A contract refused a call."""

    def __init__(self, code: RegistryErrorCode | None, text: str) -> None:
        super().__init__(code.name if code is not None else text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Query:
    """The items that a verification looks up on the ledger."""

    org: int
    key_id: int
    schema: int
    anchor: bytes
    """The registered value: a document's anchor, or the root of its batch."""
    leaf: tuple[bytes, int, tuple[bytes, ...]] | None
    """In a batch: the document's anchor, its index and its path."""
    consent: ConsentId | None
    presentation: bytes
    verifier: int
    """The organisation that may have used the presentation up."""
    route: tuple[int, int]
    """The jurisdictions that the document comes from and goes to."""
    as_of: int = 0
    """The block whose state is asked for; 0 for the latest."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A node's answers to a `Query`. Two honest nodes at one height give the same answers."""

    record: AnchorRecord
    state: AnchorState
    """The document's state: that of its record, or of its leaf in a batch."""
    reason: int
    org: Org
    key: OrgKey
    accreditations: tuple[Accreditation, ...]
    """The windows in which the issuer was accredited for the schema."""
    consent: Consent | None
    """None if the query names no consent."""
    is_consumed: bool
    """Whether the verifier has used the presentation up."""
    is_routed: bool
    """Whether the ledger has an open route between the two jurisdictions."""
    schema_hash: bytes
    """The hash that the ledger has of the schema's rules; zeros if it does not know the schema."""
    is_org_certain: bool = True
    """Whether the issuer's status is that of the block asked for: the ledger has only the last."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a document for a receiver depends on, before it is made."""

    audience: Org
    schema: LedgerSchema
    open_to: frozenset[int]
    """The jurisdictions in which documents of the issuer's may be used."""


def facts_calls(query: Query) -> list[Call]:
    """Return the calls for a query."""
    calls = [
        (HASH_REGISTRY_ADDRESS, encode_get_record(query.org, query.anchor)),
        org_call("getOrg", query.org),
        org_call("getKey", query.org, query.key_id),
        org_call("getAccreditations", query.org, query.schema),
        consumption_call(query.verifier, query.presentation),
        (CONSENT_LOG_ADDRESS, consent_call(query.consent or NO_CONSENT)),
        org_call("isRouted", *query.route),
        org_call("getSchema", query.schema),
    ]
    if query.leaf is not None:
        calls.append(leaf_call(query.org, query.anchor, query.leaf))
    if query.as_of:
        call = hash_function("getStatusAt").encode_call(query.org, query.anchor, query.as_of)
        calls.append((HASH_REGISTRY_ADDRESS, call))
    return calls


def terms_calls(start: int, schema: int, audience: int) -> list[Call]:
    """Return the calls for the terms of a document from a jurisdiction."""
    return [
        org_call("getOrg", audience),
        org_call("getSchema", schema),
        *(org_call("isRouted", start, int(end)) for end in Jurisdiction),
    ]


def decode_terms(answers: Sequence[bytes | RegistryRefused]) -> Terms:
    """Return the terms in the answers to `terms_calls`."""
    audience, schema, *routed = map(require, answers)
    is_open = zip(Jurisdiction, routed, strict=True)
    open_to = frozenset(int(end) for end, answer in is_open if int.from_bytes(answer, "big"))
    return Terms(decode_org(audience), decode_schema(schema), open_to)


def decode_use(data: bytes) -> int:
    """Return the block of a use, in the answer of getConsumption; 0 if there is none."""
    _, height = verification_function("getConsumption").decode_output(data)[0]
    return int(height)


def decode_facts(query: Query, answers: Sequence[bytes | RegistryRefused]) -> Facts:
    """Return the facts in the answers to `facts_calls`."""
    record, org, key, accreditations, consumed, consent, route = map(require, answers[:7])
    schema = decode_schema(require(answers[7]))
    found = decode_record(record)
    state, reason, org_found = found.state, found.reason, decode_org(org)
    if query.as_of:
        state = AnchorState(int.from_bytes(require(answers[-1]), "big"))
    if query.leaf is not None:
        leaf_state, leaf_reason, since = decode_leaf_status(answers[8])
        is_later = leaf_state is AnchorState.REVOKED and since > query.as_of
        is_batchs = leaf_state is found.state or is_later
        # The end of a batch hides when its leaves ended: then the worse counts.
        if not (query.as_of and found.state < AnchorState.REVOKED and is_batchs):
            state, reason = leaf_state, leaf_reason
    elif found.kind is AnchorKind.BATCH:
        state = AnchorState.NONE  # the root of a batch is no document's anchor
    return Facts(
        record=found,
        state=state,
        reason=reason,
        org=org_found,
        key=decode_key(key),
        accreditations=decode_accreditations(accreditations),
        consent=None if query.consent is None else decode_consent(consent),
        is_consumed=bool(decode_use(consumed)),
        is_routed=bool(int.from_bytes(route, "big")),
        schema_hash=schema.schema_hash,
        is_org_certain=not query.as_of or org_found.status_height <= query.as_of,
    )


def org_call(name: str, *arguments: object) -> tuple[bytes, bytes]:
    """Return a call of OrgRegistry."""
    return ORG_REGISTRY_ADDRESS, org_function(name).encode_call(*arguments)


def leaf_call(
    issuer: int, root: bytes, leaf: tuple[bytes, int, Sequence[bytes]]
) -> tuple[bytes, bytes]:
    """Return the call for the state of a document in a batch."""
    anchor, index, path = leaf
    call = hash_function("getLeafStatus").encode_call(issuer, root, anchor, index, list(path))
    return HASH_REGISTRY_ADDRESS, call


def consumption_call(verifier: int, presentation: bytes) -> tuple[bytes, bytes]:
    """Return the call for the use of a presentation."""
    call = verification_function("getConsumption").encode_call(verifier, presentation)
    return VERIFICATION_LOG_ADDRESS, call


def consent_call(consent: ConsentId) -> bytes:
    """Return the data of the call for a consent."""
    return consent_function("getConsent").encode_call("0x" + consent[0].hex(), consent[1])


def require(answer: bytes | RegistryRefused) -> bytes:
    """Return an answer; raise the refusal that stands in its place."""
    if isinstance(answer, RegistryRefused):
        raise answer
    return answer


def decode_leaf_status(answer: bytes | RegistryRefused) -> tuple[AnchorState, int, int]:
    """Return state, reason and height of a document in a batch; NONE if the batch lacks it."""
    absent = (RegistryErrorCode.BAD_PROOF, RegistryErrorCode.NOT_FOUND)
    if isinstance(answer, RegistryRefused) and answer.code in absent:
        return AnchorState.NONE, 0, 0
    state, reason, height = hash_function("getLeafStatus").decode_output(require(answer))
    return AnchorState(state), reason, height
