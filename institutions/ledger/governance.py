"""Decisions of the consortium: what an organisation proposes, and how it votes (docs/REGISTRY.md).

A proposal is a list of calls that the Governance contract makes once it is passed. The functions
that end in `_calls` return such lists for what is usually decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

from contracts.abi import Function, load_artifact
from contracts.registry import (
    GOVERNANCE_ADDRESS,
    ORG_REGISTRY_ADDRESS,
    SCHEMA_IDS,
    Jurisdiction,
    OrgStatus,
    ProposalStatus,
    Role,
    Suite,
    org_function,
)
from institutions.documents.schemas import SCHEMAS
from institutions.ledger.registry import Registry
from institutions.ledger.responses import answers_of
from institutions.ledger.transactor import Signer
from institutions.package.forms import read_integer, read_list

VOTING_BLOCKS = 10_000
"""How many blocks a proposal is open, unless said otherwise."""
PROPOSALS_MAX = 10_000
"""That a node is believed to have."""
CALLS_MAX = 16
"""Of a proposal; the contract's own bound."""
DECISION_GAS = 3_000_000
"""For 16 calls, kept and then made."""

Call = tuple[bytes, bytes]
"""Contract's address, and call data."""


@dataclass(frozen=True, slots=True)
class GovernanceProposal:
    """A proposal as a node has it."""

    number: int
    proposer: int
    status: ProposalStatus
    opened_height: int
    until_height: int
    """The last block in which it may be voted on."""
    calls: tuple[Call, ...]
    votes: dict[Jurisdiction, tuple[int, int]]
    """Organisations in favour and against, where there are any."""


GENESIS_ORGS = 4_096
"""Organisation ids below this are those of genesis, in the order of the network file."""


def derive_org_id(name: str) -> int:
    """Return the organisation id under which an institution is proposed after genesis.

    It follows from the name alone, so that operators who draft at the same time need not agree.
    The contract refuses an id that another organisation has.
    """
    digest = int.from_bytes(keccak(text=name), "big")
    return GENESIS_ORGS + digest % (2**16 - GENESIS_ORGS)


def _org_registry(function: str, *arguments: object) -> Call:
    return ORG_REGISTRY_ADDRESS, org_function(function).encode_call(*arguments)


def admission_calls(
    org: int,
    name: str,
    side: Jurisdiction,
    roles: Role,
    *,
    account: bytes,
    document_key: bytes,
    schemas: Iterable[str] = (),
) -> list[Call]:
    """Return what admits an organisation with an account, a document key and accreditations."""
    return [
        _org_registry("admitOrg", org, keccak(text=name), int(side), int(roles)),
        _org_registry("setAccount", org, account, int(roles)),
        _org_registry("addKey", org, 1, int(Suite.SHA256_P256), document_key),
        *(_org_registry("accredit", org, SCHEMA_IDS[schema], 0) for schema in schemas),
    ]


def status_calls(org: int, status: OrgStatus) -> list[Call]:
    """Return what suspends an organisation, lets it back, or ends its membership."""
    return [_org_registry("setOrgStatus", org, int(status))]


def accreditation_calls(org: int, schema: str, *, is_withdrawn: bool = False) -> list[Call]:
    """Return what accredits an organisation for a schema, or no longer."""
    if is_withdrawn:
        return [_org_registry("disaccredit", org, SCHEMA_IDS[schema])]
    return [_org_registry("accredit", org, SCHEMA_IDS[schema], 0)]


def quota_calls(org: int, *, per_block: int, outstanding: int) -> list[Call]:
    """Return what limits an organisation's registrations in a block, and in force; 0: no limit."""
    return [_org_registry("setQuota", org, per_block, outstanding)]


def route_calls(start: Jurisdiction, end: Jurisdiction, *, is_open: bool = True) -> list[Call]:
    """Return what lets documents of one jurisdiction be used in another, or no longer."""
    return [_org_registry("setRoute", int(start), int(end), is_open)]


def schema_calls(
    schema: str, *, min_witness: int = 0, is_cross_witnessed: bool = False
) -> list[Call]:
    """Return what makes a schema known on the ledger, with its policy."""
    rules = SCHEMAS[schema]
    paths = keccak(text="\n".join(rules.must_disclose))
    policy = (rules.max_age_s, min_witness, is_cross_witnessed, paths, rules.sensitivity)
    return [_org_registry("registerSchema", rules.number, 1, keccak(text=schema), 0, *policy)]


def account_call(org: int, account: bytes, roles: Role) -> Call:
    """Return what gives an account roles in its organisation, or with none removes it.

    An administrator of the organisation makes it.
    """
    return _org_registry("setAccount", org, account, int(roles))


def rotation_calls(
    org: int,
    usable: Sequence[int],
    fresh: tuple[int, bytes],
    compromised_since: int | None = None,
) -> list[Call]:
    """Return what puts a document key (number, public key) into use, and all others out of it.

    They end as stolen, or retired. An administrator of the organisation makes the calls in this
    order: cut off at any place, they can be worked out anew from the keys that are usable then.
    """
    number, public_key = fresh
    calls = []
    if number not in usable:
        calls.append(_org_registry("addKey", org, number, int(Suite.SHA256_P256), public_key))
    for old in usable:
        if old == number:
            continue
        if compromised_since is None:
            calls.append(_org_registry("retireKey", org, old))
        else:
            calls.append(_org_registry("reportCompromised", org, old, compromised_since))
    return calls


def describe_call(call: Call) -> str:
    """Return a call as a person reads it; what is not known, as its bytes."""
    address, data = call
    named = {ORG_REGISTRY_ADDRESS: "OrgRegistry", GOVERNANCE_ADDRESS: "Governance"}.get(address)
    functions = load_artifact(named).functions.values() if named else ()
    for function in functions:
        if data[:4] == function.selector:
            try:
                values = decode(function.input_types, data[4:])
            except (DecodingError, OverflowError, ValueError):
                break
            shown = (f"0x{item.hex()}" if isinstance(item, bytes) else str(item) for item in values)
            return f"{named}.{function.name}({', '.join(shown)})"
    return f"0x{address.hex()} 0x{data.hex()}"


class Voter:
    """An organisation with the role GOVERNOR."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    async def propose(self, calls: Sequence[Call], blocks: int = VOTING_BLOCKS) -> int:
        """Propose calls; return the proposal's number. Its proposer has not voted by that.

        Raises:
            RegistryRefused: not a voter, or calls of nothing.
            ClientError: the node could not be asked.
        """
        data = _function("propose").encode_call(list(calls), blocks)
        receipt = await self._signer.send(GOVERNANCE_ADDRESS, data, gas=DECISION_GAS)
        proposed = load_artifact("Governance").events["Proposed"].topic
        with answers_of(self._signer.registry.client.url):
            (event,) = (item for item in receipt.logs if item.topic(0) == proposed)
            return event.number(1, PROPOSALS_MAX)

    async def vote(self, proposal: int, *, is_yes: bool = True) -> int:
        """Vote; return the block of the vote. The one that passes a proposal makes its calls.

        Raises:
            RegistryRefused: not a voter, voted already, decided, or its calls are refused.
            ClientError: the node could not be asked.
        """
        data = _function("vote").encode_call(proposal, is_yes)
        receipt = await self._signer.send(GOVERNANCE_ADDRESS, data, gas=DECISION_GAS)
        return receipt.height


async def read_proposal(registry: Registry, number: int) -> GovernanceProposal | None:
    """Return a proposal; None if there is none of that number."""
    data = _function("getProposal").encode_call(number)
    (found,) = await registry.read_as(
        _function("getProposal").decode_output, GOVERNANCE_ADDRESS, data
    )
    proposer, status, opened, until, calls = found
    if not status:
        return None
    votes = {}
    for side in Jurisdiction:
        data = _function("getTally").encode_call(number, int(side))
        decode = _function("getTally").decode_output
        tally = await registry.read_as(decode, GOVERNANCE_ADDRESS, data)
        if any(tally):
            votes[side] = (tally[0], tally[1])
    with answers_of(registry.client.url):
        made = tuple(
            (bytes.fromhex(address[2:]), data)
            for address, data in read_list(list(calls), CALLS_MAX, "calls")
        )
        return GovernanceProposal(
            number, proposer, ProposalStatus(status), opened, until, made, votes
        )


async def count_proposals(registry: Registry) -> int:
    """Return how many proposals there are; their numbers begin with 1."""
    function = _function("proposalCount")
    data = function.encode_call()
    (count,) = await registry.read_as(function.decode_output, GOVERNANCE_ADDRESS, data)
    with answers_of(registry.client.url):
        return read_integer(count, "proposals", PROPOSALS_MAX)


def _function(name: str) -> Function:
    return load_artifact("Governance").functions[name]
