"""Decisions of the consortium: how organisations propose and vote (docs/REGISTRY.md).

A proposal is a list of calls that the Governance contract makes once the proposal passes. The
functions whose names end in `_calls` build such lists for the usual decisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from lowu.contracts.abi import Function, load_artifact
from lowu.contracts.account import Account
from lowu.contracts.registry import (
    GOVERNANCE_ADDRESS,
    ORG_REGISTRY_ADDRESS,
    Jurisdiction,
    OrgStatus,
    ProposalStatus,
    Role,
    Suite,
    org_function,
)
from lowu.contracts.schemas.document_schema import Schema
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.ledger.responses import answers_of
from lowu.institutions.ledger.transactor import Signer
from lowu.institutions.package.forms import read_integer, read_list

VOTING_BLOCKS = 10_000
"""How many blocks a proposal stays open by default."""
PROPOSALS_MAX = 2**32
"""Most proposals that a node's answer may claim."""
CALLS_MAX = 16
"""Most calls in a proposal; the contract has the same bound."""
DECISION_GAS = 3_000_000
"""Gas enough to store 16 calls and then make them."""

Call = tuple[bytes, bytes]
"""A contract's address, and the call data."""


@dataclass(frozen=True, slots=True)
class VotingSide:
    """A jurisdiction's part in a vote. Weight and voters are those of the proposal's opening."""

    weight: int
    """Shared evenly among its voters."""
    voters: int
    yes: int
    """Votes in favour, of organisations that are still members."""
    no: int


@dataclass(frozen=True, slots=True)
class GovernanceProposal:
    """A proposal as a node reports it."""

    number: int
    proposer: int
    status: ProposalStatus
    opened_height: int
    until_height: int
    """The last block that may hold a vote on it."""
    calls: tuple[Call, ...]
    sides: dict[Jurisdiction, VotingSide]
    """By jurisdiction: only those that have a say."""


GENESIS_ORGS = 4_096
"""Genesis assigns the organisation ids below this, in the order of the network file."""


def derive_org_id(name: str) -> int:
    """Return the organisation id under which an institution is proposed after genesis.

    It follows from the name alone, so operators who draft proposals at the same time need not
    coordinate. The contract refuses an id that another organisation has.
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
    schemas: Iterable[Schema] = (),
) -> list[Call]:
    """Return the calls that admit an organisation, with account, document key, accreditations."""
    return [
        _org_registry("admitOrg", org, keccak(text=name), int(side), int(roles)),
        _org_registry("setAccount", org, account, int(roles)),
        _org_registry("addKey", org, 1, int(Suite.SHA256_P256), document_key),
        *(_org_registry("accredit", org, schema.number, 0) for schema in schemas),
    ]


def status_calls(org: int, status: OrgStatus) -> list[Call]:
    """Return the call that suspends or reinstates an organisation, or ends its membership.

    A suspended organisation still votes.
    """
    return [_org_registry("setOrgStatus", org, int(status))]


def accreditation_calls(org: int, schema: Schema, *, is_withdrawn: bool = False) -> list[Call]:
    """Return the call that accredits an organisation for a schema, or withdraws that."""
    if is_withdrawn:
        return [_org_registry("disaccredit", org, schema.number)]
    return [_org_registry("accredit", org, schema.number, 0)]


def quota_calls(org: int, *, per_block: int, outstanding: int) -> list[Call]:
    """Return the call that limits registrations per block, and in force; 0 means no limit."""
    return [_org_registry("setQuota", org, per_block, outstanding)]


def route_calls(start: Jurisdiction, end: Jurisdiction, *, is_open: bool = True) -> list[Call]:
    """Return the call that opens or closes a route for documents between two jurisdictions."""
    return [_org_registry("setRoute", int(start), int(end), is_open)]


def schema_calls(
    schema: Schema, *, min_witness: int = 0, is_cross_witnessed: bool = False
) -> list[Call]:
    """Return the call that registers a schema, with its policy, on the ledger."""
    side = 0 if schema.jurisdiction is None else int(schema.jurisdiction)
    rules = (schema.number, schema.version, schema.digest, side, schema.max_age_s)
    policy = (min_witness, is_cross_witnessed, schema.must_disclose_digest, schema.sensitivity)
    return [_org_registry("registerSchema", *rules, *policy)]


def account_call(org: int, account: bytes, roles: Role) -> Call:
    """Return the call that changes an account's roles in its organisation; no roles remove it.

    An administrator of the organisation makes the call.
    """
    return _org_registry("setAccount", org, account, int(roles))


def claim_call(org: int, fresh: Account, roles: Role, chain_id: int) -> Call:
    """Return the call that makes a new account, which agrees, one of an organisation.

    What the account signs is OrgRegistry's `claimOf` for its first claim. An administrator of the
    organisation makes the call.
    """
    account, where = bytes.fromhex(fresh.address[2:]), "0x" + ORG_REGISTRY_ADDRESS.hex()
    types = ("string", "uint256", "address", "uint16", "address", "uint256")
    claim = encode(types, ("lowu-account-2", chain_id, where, org, account, 0))
    v, *halves = fresh.sign_digest(keccak(claim))
    r, s = (item.to_bytes(32, "big") for item in halves)
    return _org_registry("claimAccount", org, account, int(roles), 27 + v, r, s)


def suspension_call(org: int, until_s: int) -> Call:
    """Return the call with which a regulator suspends an organisation until a block time.

    With 0 it lets the organisation back. Both are of one jurisdiction; at most 30 days ahead.
    """
    return _org_registry("suspendOrg", org, until_s)


def compromise_call(org: int, key: int, since: int) -> Call:
    """Return the call that reports a document key as stolen since a block."""
    return _org_registry("reportCompromised", org, key, since)


def rotation_calls(
    org: int,
    usable: Sequence[int],
    fresh: tuple[int, bytes],
    compromised_since: int | None = None,
) -> list[Call]:
    """Return the calls that add a document key (number, public key) and end all other keys.

    The others are reported as stolen, or retired. An administrator of the organisation makes the
    calls in this order. After an interruption, the rest follows from the keys still usable.
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
            calls.append(compromise_call(org, old, compromised_since))
    return calls


class Voter:
    """An organisation with the role GOVERNOR."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    async def propose(self, calls: Sequence[Call], blocks: int = VOTING_BLOCKS) -> int:
        """Propose calls; return the proposal's number. Proposing does not count as a vote.

        Raises:
            RegistryRefused: the organisation may not vote, or the list of calls is empty.
            ClientError: the node could not be asked.
        """
        data = _function("propose").encode_call(list(calls), blocks)
        receipt = await self._signer.send(GOVERNANCE_ADDRESS, data, gas=DECISION_GAS)
        proposed = load_artifact("Governance").events["Proposed"].topic
        with answers_of(self._signer.registry.client.url):
            (event,) = (item for item in receipt.logs if item.topic(0) == proposed)
            return event.number(1, PROPOSALS_MAX)

    async def vote(self, proposal: int, *, is_yes: bool = True) -> int:
        """Vote; return the block of the vote. The vote that passes a proposal makes its calls.

        Raises:
            RegistryRefused: the organisation may not vote or has voted, the proposal is decided,
                or its calls are refused.
            ClientError: the node could not be asked.
        """
        data = _function("vote").encode_call(proposal, is_yes)
        receipt = await self._signer.send(GOVERNANCE_ADDRESS, data, gas=DECISION_GAS)
        return receipt.height


async def read_proposal(registry: Registry, number: int) -> GovernanceProposal | None:
    """Return a proposal; None if none has that number."""
    data = _function("getProposal").encode_call(number)
    (found,) = await registry.read_as(
        _function("getProposal").decode_output, GOVERNANCE_ADDRESS, data
    )
    proposer, status, opened, until, calls = found
    if not status:
        return None
    sides = {}
    for jurisdiction in Jurisdiction:
        data = _function("getTally").encode_call(number, int(jurisdiction))
        decode = _function("getTally").decode_output
        side = VotingSide(*await registry.read_as(decode, GOVERNANCE_ADDRESS, data))
        if side.weight:
            sides[jurisdiction] = side
    with answers_of(registry.client.url):
        made = tuple(
            (bytes.fromhex(address[2:]), data)
            for address, data in read_list(list(calls), CALLS_MAX, "calls")
        )
        return GovernanceProposal(
            number, proposer, ProposalStatus(status), opened, until, made, sides
        )


async def count_proposals(registry: Registry) -> int:
    """Return the number of proposals; they are numbered from 1."""
    function = _function("proposalCount")
    data = function.encode_call()
    (count,) = await registry.read_as(function.decode_output, GOVERNANCE_ADDRESS, data)
    with answers_of(registry.client.url):
        return read_integer(count, "proposals", PROPOSALS_MAX)


def _function(name: str) -> Function:
    return load_artifact("Governance").functions[name]
