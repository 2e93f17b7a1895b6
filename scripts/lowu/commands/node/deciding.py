"""Deciding on the group: what a change would leave, and the consortium's votes for it.

All keys of a simulation are in one place, so the command has the institutions vote that it takes:
those with the role GOVERNOR, of the sides in turn, until the proposal has passed. A network without
such institutions is governed by the account that genesis names.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import trio

from lowu.consensus.quorum import compute_quorum
from lowu.contracts.group import (
    ConsensusCode,
    GroupNode,
    NodeKind,
    consensus_function,
    decode_nodes,
)
from lowu.contracts.registry import CONSENSUS_ADDRESS, GOVERNANCE_ADDRESS, ProposalStatus, Role
from lowu.contracts.system_config import SystemKey
from lowu.institutions.ledger.governance import Call, Voter, read_proposal
from lowu.institutions.ledger.registry import Registry, read_refusal
from lowu.institutions.ledger.responses import answers_of
from lowu.institutions.ledger.transactor import Signer
from lowu.node.client import ClientError, RemoteError
from lowu.node.errors import ConfigError, NodeError
from lowu.node.topology.control import Control
from lowu.node.topology.network import (
    NotReady,
    describe_end,
    find_highest,
    read_members,
    read_status,
    read_statuses,
)
from lowu.node.topology.plan import PlannedNode, derive_key

if TYPE_CHECKING:
    from lowu.office import Office

BEHIND_MAX = 20
"""Blocks by which a node may be behind and be given a vote: it has them in a moment."""
LEVEL_S = 600.0
"""Longest wait for a new node to fetch the chain, as long as it gets on."""
EFFECT_S = 30.0
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, and how."""

    height: int
    """The block of the change, which holds from the next one on; 0 if it is not known any more."""
    proposal: int | None
    voters: tuple[str, ...]
    is_earlier: bool = False
    """Decided before the command began."""

    def tell(self) -> str:
        """Return it as a sentence."""
        if self.is_earlier:
            return "decided earlier" + (f", in block {self.height}" if self.height else "")
        if self.proposal is None:
            return f"decided by the network's governor in block {self.height}"
        return (
            f"proposal {self.proposal}, passed by {', '.join(self.voters)} in block {self.height}"
        )


async def read_group(office: Office, node: PlannedNode | None = None) -> dict[str, GroupNode]:
    """Return the nodes of the group by node id, as a node has them; else that with most links."""
    data = consensus_function("getNodes").encode_call()
    async with office.open_client((node or await _find_node(office)).url) as client:
        answer = await Registry(client).read(CONSENSUS_ADDRESS, data)
    return {item.node_id.hex(): item for item in decode_nodes(answer)}


async def is_cut_short(office: Office, node: PlannedNode) -> bool:
    """Whether the group has removed a node that runs, or is started with the others.

    The highest of the others is asked: one that still catches up may not know that the group has
    taken it back.
    """
    others = {item.name: item for item in office.plan.members if item is not node}
    statuses = await read_statuses(others.values())
    if not statuses:
        return False
    highest = others[max(statuses, key=lambda name: int(statuses[name]["height"]))]
    if node.key.node_id.hex() in await read_group(office, highest):
        return False
    return node.name not in office.plan.left or bool(await read_statuses([node]))


async def read_settings(office: Office) -> dict[SystemKey, tuple[int, int]]:
    """Return the group's settings, each with the first block for which it holds."""
    first = office.plan.genesis.settings
    if not office.plan.genesis.has_system_config:
        return {key: (first.get(key), 0) for key in SystemKey}
    node = await _find_node(office)
    return {key: await _read_setting(office, node, key) for key in SystemKey}


async def _read_setting(office: Office, node: PlannedNode, key: SystemKey) -> tuple[int, int]:
    async with office.open_client(node.url) as client:
        answer = await client.call("getSystemConfigByKey", "", "", str(key))
    with answers_of(node.url):
        return int(answer["value"]), int(answer["blockNumber"])


async def check_change(office: Office, node_id: str, weight: int) -> None:
    """Refuse a change after which no block could be committed.

    `weight` is the node's afterwards; 0 if it has no vote then.

    Raises:
        ConfigError: too few validators run and vote, or the node is not ready to.
    """
    group, statuses = await read_group(office), await read_statuses(office.plan.nodes)
    weights = {key: item.weight for key, item in group.items() if item.kind is NodeKind.SEALER}
    weights = {**weights, node_id: weight}
    quorum = compute_quorum(sum(weights.values()))
    head = max((item["height"] for item in statuses.values()), default=0)
    voting = 0
    for node in office.plan.nodes:
        status = statuses.get(node.name)
        if status is None or status["is_abstaining"]:
            continue
        if status["height"] >= head - BEHIND_MAX:
            voting += weights.get(node.key.node_id.hex(), 0)
    if voting < quorum:
        raise ConfigError(
            f"afterwards the validators that run, are level and vote would have weight {voting} "
            f"of the {quorum} needed: no block could be committed, and nothing undone. Start the "
            "others and wait until `lowu status` shows them level, or give --force"
        )


def list_needed(weights: Mapping[str, int]) -> list[str]:
    """Return the validators without whom the others are no quorum."""
    total = sum(weights.values())
    quorum = compute_quorum(total)
    return [key for key, weight in weights.items() if total - weight < quorum]


async def decide(office: Office, calls: Sequence[Call]) -> Decision:
    """Have the consortium make calls of Consensus.

    Raises:
        RegistryRefused: the contract refuses one of them; nothing was proposed.
        NodeError: the votes were not enough.
    """
    voters, url = _list_voters(office), await _find_url(office)
    if not voters:
        return await _order(office, calls, url)
    async with _connect(office, voters[0], url) as signer:
        await _try(signer, calls)
        number = await Voter(signer).propose(calls)
    voted: list[str] = []
    for name in voters:
        async with _connect(office, name, url) as signer:
            height = await Voter(signer).vote(number)
            voted.append(name)
            found = await read_proposal(signer.registry, number)
        if found is not None and found.status is ProposalStatus.PASSED:
            return Decision(height, number, tuple(voted))
    raise NodeError(
        f"proposal {number} has not passed, although {', '.join(voted)} voted for it; "
        f"`lowu org proposals` shows what is missing"
    )


async def _find_url(office: Office) -> str:
    """Return the URL of the node with the most blocks: a voter's own may be down, or removed."""
    return (await _find_node(office)).url


async def _find_node(office: Office) -> PlannedNode:
    found = await find_highest(office.plan.nodes)
    if found is None:
        raise NotReady(f"{office.directory}: no node answers; start the network with `lowu up`")
    return found


@asynccontextmanager
async def _connect(office: Office, name: str, url: str) -> AsyncIterator[Signer]:
    """Connect an institution's account to a node."""
    async with office.open_client(url) as client:
        yield Signer(client, office.unlock(name).account_key)


def _list_voters(office: Office) -> list[str]:
    """Return the institutions that vote, of the sides in turn."""
    by_side: dict[str, list[str]] = {}
    for item in office.list_institutions():
        if Role.GOVERNOR in item.spec.roles:
            by_side.setdefault(item.spec.side.name, []).append(item.spec.id)
    return [name for row in zip_longest(*by_side.values()) for name in row if name is not None]


async def _try(signer: Signer, calls: Sequence[Call]) -> None:
    """Ask the node whether the contract would take the first call, as a passed proposal makes it.

    The others depend on it, and are seen when the proposal is decided.
    """
    address, data = calls[0]
    message = {
        "from": "0x" + GOVERNANCE_ADDRESS.hex(),
        "to": "0x" + address.hex(),
        "data": "0x" + data.hex(),
    }
    try:
        await signer.registry.client.call("eth_call", message, "latest")
    except RemoteError as error:
        raise read_refusal(error) from error


async def _order(office: Office, calls: Sequence[Call], url: str) -> Decision:
    """Make the calls with the account that governs the network."""
    key = derive_key(office.plan.spec.settings.seed, "governor")
    async with office.open_client(url) as client:
        signer = Signer(client, key)
        await _try(signer, calls)
        height = 0
        for address, data in calls:
            message = {
                "from": signer.address,
                "to": "0x" + address.hex(),
                "data": "0x" + data.hex(),
            }
            answer = str(await client.call("eth_call", message, "latest"))
            code = ConsensusCode(int.from_bytes(bytes.fromhex(answer[2:]), "big", signed=True))
            if code is not ConsensusCode.DONE:
                raise NodeError(f"the ledger refuses the governor's call: {code.name} ({code})")
            height = (await signer.send(address, data)).height
    return Decision(height, None, ())


async def wait_until_level(office: Office, node: PlannedNode, report: Any, least: int = 0) -> int:
    """Wait until a node has what the others have, and a block; return its height.

    Raises:
        NodeError: its process has ended.
        NotReady: it does not get on.
    """
    height, said = -1, 0
    control = Control(office.directory)
    with trio.move_on_after(LEVEL_S) as scope:
        while True:
            statuses = await read_statuses(office.plan.nodes)
            own = statuses.pop(node.name, None)
            highest = max((item["height"] for item in statuses.values()), default=0)
            if own is not None:
                if own["height"] > height:
                    height, scope.deadline = own["height"], trio.current_time() + LEVEL_S
                if height >= max(highest - 1, least):
                    return height
                if height // 1_000 > said:
                    said = height // 1_000
                    report(f"{node.name} is at block {height} of {highest}")
            else:
                (state,) = await trio.to_thread.run_sync(control.order, "status", [node.name])
                if state["pid"] is None:
                    ended = describe_end(node, state["exit_code"], office.directory)
                    raise NodeError(
                        f"{ended}. The group has let it in: once that is mended, `lowu start "
                        f"{node.name}` is all it needs; `lowu node remove {node.name}` takes it "
                        "out again"
                    )
            await trio.sleep(POLL_S)
    raise NotReady(
        f"{node.name} is at block {max(height, 0)} and does not get on; see `lowu logs {node.name}`"
    )


async def wait_for_effect(
    office: Office, name: str, weights: Mapping[str, int], height: int
) -> None:
    """Wait until a node, and all that have a block, know the validators above it.

    Not for ever: a node that is removed, or not in touch, does not learn of it.
    """
    with trio.move_on_after(EFFECT_S):
        while True:
            statuses = await read_statuses(office.plan.nodes)
            known = {
                name: item["weights"] for name, item in statuses.items() if item["height"] >= height
            }
            if name in known and all(item == weights for item in known.values()):
                return
            await trio.sleep(POLL_S)


async def wait_for_setting(office: Office, key: SystemKey, value: int, height: int) -> None:
    """Wait until all nodes of the group that run have a block, and with it a setting.

    Raises:
        NotReady: some do not have it yet; it is decided all the same.
    """
    members = await read_members(office.plan.nodes)
    left: list[str] = []
    with trio.move_on_after(EFFECT_S):
        while True:
            left = [
                node.name
                for node in office.plan.nodes
                if node.key.node_id.hex() in members
                and not await _has_setting(office, node, key, value, height)
            ]
            if not left:
                return
            await trio.sleep(POLL_S)
    raise NotReady(
        f"{key} is {value} from block {height + 1} on: that is decided. Not there yet: "
        f"{', '.join(left)}; see `lowu status`"
    )


async def _has_setting(
    office: Office, node: PlannedNode, key: SystemKey, value: int, height: int
) -> bool:
    """Whether a node has a block and with it a setting, or does not run."""
    try:
        if (await read_status(node))["height"] < height:
            return False
        return (await _read_setting(office, node, key))[0] == value
    except (ClientError, RemoteError):
        return True
