"""Consensus: FISCO BCOS's functions and codes, and what it refuses beyond; in both EVM engines."""

from dataclasses import replace
from random import Random

import pytest

from lowu.contracts.group import (
    ConsensusCode,
    GroupNode,
    NodeKind,
    consensus_function,
    decode_nodes,
)
from lowu.contracts.registry import (
    CONSENSUS_ADDRESS,
    GOVERNANCE_ADDRESS,
    Jurisdiction,
    RegistryErrorCode,
    decode_registry_error,
)
from lowu.node.chain.receipt import ReceiptStatus
from lowu.node.config import Engine
from lowu.node.execution.evm import Evm
from lowu.node.execution.flat_state import EmptyState, LayeredState
from lowu.node.execution.genesis import build_genesis
from lowu.node.execution.group_state import has_vote, read_roster
from tests.unit import node_kit as kit
from tests.unit.contracts.test_governance_contract import propose, propose_all, vote
from tests.unit.registry_world import GOVERNOR, Refused, World, account_of, refused

SZ, HK = Jurisdiction.SZ, Jurisdiction.HK
CODE = RegistryErrorCode
FIRST = [bytes.fromhex(node) for node, _ in kit.GENESIS.sealers]
NEW = b"\xab" * 64
SIDES = dict(zip(FIRST, (SZ, SZ, HK, HK), strict=True))


class GroupWorld(World):
    """The contracts of a genesis whose four validators stand on two sides."""

    def __init__(self, sides=SIDES):
        super().__init__()
        sides = tuple((node.hex(), int(side)) for node, side in sides.items())
        genesis = replace(kit.GENESIS, sides=sides)
        added = build_genesis(genesis).writes
        own = build_genesis(kit.GENESIS).writes
        changed = {key: value for key, value in added.items() if own.get(key) != value}
        self._state = LayeredState(self._state, changed)
        self._open()

    def change(self, name, *arguments, who=GOVERNOR):
        """Make a change; return its code."""
        data = consensus_function(name).encode_call(*arguments)
        outcome = self._evm.call(who, CONSENSUS_ADDRESS, 0, data, 10_000_000)
        if outcome.status is not ReceiptStatus.SUCCESS:
            raise Refused(decode_registry_error(outcome.output))
        (code,) = consensus_function(name).decode_output(outcome.output)
        return ConsensusCode(code)

    def nodes(self):
        """Return the nodes, from the faster engine: what was written is the same in both."""
        state = LayeredState(self._state, self._evm.writes())
        data = consensus_function("getNodes").encode_call()
        context = replace(kit.context(self.height), engine=Engine.COMPILED)
        outcome = Evm(state, context).call(bytes(20), CONSENSUS_ADDRESS, 0, data, 100_000_000)
        return {item.node_id: item for item in decode_nodes(outcome.output)}


@pytest.fixture
def world():
    return GroupWorld()


def test_genesis_lists_its_nodes(world):
    assert world.nodes() == {
        node: GroupNode(node, NodeKind.SEALER, SIDES[node], 1) for node in FIRST
    }
    refused(CODE.TERMINAL_STATE, world.change, "begin", [], True)


def test_codes_of_fisco_bcos(world):
    done, codes = ConsensusCode.DONE, ConsensusCode
    new, known = NEW.hex(), FIRST[0].hex()
    for name, rest in (
        ("addSealer", (1,)),
        ("addObserver", ()),
        ("remove", ()),
        ("setWeight", (1,)),
    ):
        for text in ("", new[:-1], new + "a", "0x" + new[2:], new[:-1] + "g", new[:-1] + "é"):
            assert world.change(name, text, *rest) is codes.BAD_NODE_ID
        assert world.change(name, new, *rest, who=account_of("issuer-sz")) is codes.NOT_AUTHORISED
    assert world.change("addSealer", new, 0) is codes.ZERO_WEIGHT
    assert world.change("setWeight", known, 0) is codes.ZERO_WEIGHT
    assert world.change("addSealer", new, 1) is codes.NOT_OBSERVER
    assert world.change("remove", new) is codes.NO_SUCH_NODE
    assert world.change("setWeight", new, 1) is codes.NO_SUCH_NODE
    assert world.change("addObserver", new.upper()) is done  # of either case
    assert world.nodes()[NEW].enabled_height == world.height + 1
    refused(CODE.NOT_ACTIVE, world.change, "setWeight", new, 2)
    assert world.change("addObserverOf", 2, new) is done
    assert world.nodes()[NEW] == GroupNode(NEW, NodeKind.OBSERVER, HK, 0, world.height + 1)
    assert world.change("addSealer", new, 1) is done
    assert world.nodes()[NEW].weight == 1
    assert world.change("addSealer", new, 2) is done  # of a validator: its weight
    assert world.nodes()[NEW].weight == 2
    assert world.change("setWeight", new, 1) is done
    gone = FIRST[3].hex()
    assert world.change("remove", gone) is done
    assert set(world.nodes()) == {NEW, *FIRST[:3]}
    assert world.change("remove", gone) is codes.NO_SUCH_NODE
    refused(CODE.NOT_FOUND, world.change, "addObserverOf", 99, gone)


def test_the_last_validator_stays(world):
    assert world.change("setOneSideQuorum", True) is ConsensusCode.DONE
    for node in FIRST[:3]:
        assert world.change("addObserver", node.hex()) is ConsensusCode.DONE
    last = FIRST[3].hex()
    assert world.change("addObserver", last) is ConsensusCode.LAST_SEALER
    assert world.change("remove", last) is ConsensusCode.LAST_SEALER
    assert world.change("addObserver", FIRST[0].hex()) is ConsensusCode.DONE


def test_no_side_becomes_a_quorum_alone(world):
    """X-like growth by one side only: refused with 5003, unless the group decides otherwise."""
    more = [bytes([number]) * 64 for number in range(0xC0, 0xC6)]
    for node in more[:2]:
        assert world.change("addObserverOf", 2, node.hex()) is ConsensusCode.DONE
    assert world.change("addSealer", more[0].hex(), 1) is ConsensusCode.DONE  # 2 and 3 of 5: 4
    refused(CODE.QUORUM_NOT_BOUNDARY_SAFE, world.change, "addSealer", more[1].hex(), 2)
    refused(CODE.QUORUM_NOT_BOUNDARY_SAFE, world.change, "setWeight", more[0].hex(), 10)
    refused(CODE.QUORUM_NOT_BOUNDARY_SAFE, world.change, "remove", FIRST[0].hex())
    assert world.nodes()[more[1]].kind is NodeKind.OBSERVER, "a refusal changes nothing"
    assert world.change("addObserver", more[2].hex()) is ConsensusCode.DONE
    # Whoever runs it, a node of no known side may be of the larger one.
    refused(CODE.QUORUM_NOT_BOUNDARY_SAFE, world.change, "addSealer", more[2].hex(), 2)
    assert world.change("setOneSideQuorum", True) is ConsensusCode.DONE
    assert world.change("addSealer", more[1].hex(), 2) is ConsensusCode.DONE
    refused(CODE.QUORUM_NOT_BOUNDARY_SAFE, world.change, "setOneSideQuorum", False)
    refused(CODE.MALFORMED, world.change, "setWeight", more[1].hex(), 10_001)


def test_where_no_side_is_known_there_is_no_boundary():
    world = GroupWorld({})
    assert world.change("addObserver", NEW.hex()) is ConsensusCode.DONE
    assert world.change("addSealer", NEW.hex(), 1) is ConsensusCode.DONE
    assert world.change("addObserver", FIRST[0].hex()) is ConsensusCode.DONE


def test_a_vote_of_both_sides_changes_the_group(world):
    call = consensus_function("addObserverOf").encode_call(2, NEW.hex())
    up = consensus_function("addSealer").encode_call(NEW.hex(), 1)
    proposal = propose_all(world, [(CONSENSUS_ADDRESS, call), (CONSENSUS_ADDRESS, up)])
    world.pass_blocks()
    for who in ("issuer-sz", "witness-sz"):
        vote(world, who, proposal)
    assert NEW not in world.nodes()
    vote(world, "issuer-hk", proposal)
    assert world.nodes()[NEW].weight == 1
    assert any(item.address == CONSENSUS_ADDRESS for item in world.logs)


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("addSealer", (NEW.hex(), 1), CODE.NOT_FOUND),
        ("addSealer", (FIRST[0].hex(), 0), CODE.MALFORMED),
        ("addObserver", ("x",), CODE.MALFORMED),
        ("remove", (NEW.hex(),), CODE.NOT_FOUND),
        ("setWeight", (FIRST[0].hex(), 9), CODE.QUORUM_NOT_BOUNDARY_SAFE),
    ],
)
def test_a_proposal_that_the_contract_refuses_does_not_pass(world, name, arguments, code):
    """A code is no failure to Governance, which would then have decided without a change."""
    data = consensus_function(name).encode_call(*arguments)
    proposal = propose(world, data, target=CONSENSUS_ADDRESS)
    world.pass_blocks()
    for who in ("issuer-sz", "witness-sz"):
        vote(world, who, proposal)
    refused(code, vote, world, "issuer-hk", proposal)


def test_a_governor_that_has_renounced_changes_nothing(world):
    world.org("governor", "renounceGovernor")
    assert world.change("remove", FIRST[0].hex()) is ConsensusCode.NOT_AUTHORISED
    data = consensus_function("addObserver").encode_call(NEW.hex())
    assert world._evm.call(GOVERNANCE_ADDRESS, CONSENSUS_ADDRESS, 0, data, 10**7).output[-1] == 0


def is_safe(nodes):
    """The rule of the contract, written down once more, by way of every set of one side."""
    sealers = [item for item in nodes.values() if item.kind is NodeKind.SEALER]
    total = sum(item.weight for item in sealers)
    if all(item.jurisdiction is None for item in sealers):
        return True
    faulty = max(number for number in range(total) if 3 * number < total)
    for side in Jurisdiction:
        alone = sum(item.weight for item in sealers if item.jurisdiction in (side, None))
        if alone >= total - faulty:
            return False
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random_changes_are_those_of_a_model(seed):
    random, world = Random(seed), GroupWorld()
    nodes, codes = world.nodes(), ConsensusCode
    known = [*FIRST, *(random.randbytes(64) for _ in range(4))]
    for _ in range(40):
        node, weight = random.choice(known), random.choice((0, 1, 1, 2, 3))
        act = random.choice(("addSealer", "addObserver", "addObserverOf", "remove", "setWeight"))
        before, after = nodes.get(node), dict(nodes)
        sealers = [item for item in nodes.values() if item.kind is NodeKind.SEALER]
        is_last = before in sealers and len(sealers) == 1
        wanted, org, at = codes.DONE, random.choice((1, 2)), world.height + 1
        side = before.jurisdiction if before else None
        match act:
            case "addSealer" | "setWeight" if weight == 0:
                wanted = codes.ZERO_WEIGHT
            case "addSealer" if before is None:
                wanted = codes.NOT_OBSERVER
            case "setWeight" | "remove" if before is None:
                wanted = codes.NO_SUCH_NODE
            case "setWeight" if before.kind is NodeKind.OBSERVER:
                wanted = CODE.NOT_ACTIVE
            case "addSealer" | "setWeight":
                after[node] = GroupNode(node, NodeKind.SEALER, side, weight, at)
            case _ if is_last:
                wanted = codes.LAST_SEALER
            case "remove":
                del after[node]
            case _:
                side = Jurisdiction(org) if act == "addObserverOf" else side
                after[node] = GroupNode(node, NodeKind.OBSERVER, side, 0, at)
        votes = [item for item in after.values() if item.kind is NodeKind.SEALER]
        if wanted is codes.DONE and votes != sealers and not is_safe(after):
            wanted = CODE.QUORUM_NOT_BOUNDARY_SAFE
        rest = {"addSealer": (weight,), "setWeight": (weight,)}.get(act, ())
        first = (org,) if act == "addObserverOf" else ()
        try:
            found = world.change(act, *first, node.hex(), *rest)
        except Refused as error:
            found = error.code
        assert found is wanted, (act, weight)
        if wanted is codes.DONE:
            nodes = after
        assert world.nodes() == nodes
        if random.random() < 0.3:
            world.pass_blocks()


def test_the_state_tells_who_votes_and_which_nodes_there_are(world):
    state = LayeredState(world._state, world._evm.writes())
    context = kit.context(world.height)
    assert [item for item, _ in read_roster(state, context).sealers] == sorted(FIRST)
    found = {name: has_vote(state, account_of(name)) for name in ("issuer-sz", "verifier-hk", "x")}
    assert found == {"issuer-sz": True, "verifier-hk": False, "x": False}
    assert has_vote(state, GOVERNOR)
    assert not has_vote(EmptyState(), GOVERNOR)
    assert Evm(state, context).get_nonce(GOVERNOR) > 0, "block 0 was made with it"
