"""Random changes of the group and of its settings, as the governor's transactions.

They keep what the run needs to heal: one node may lie, or lose its disk, which takes a Byzantine
fault; it may not weigh more than f, and the others must be a quorum without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from random import Random
from typing import TypeAlias

from lowu.consensus.quorum import compute_fault_threshold
from lowu.contracts.account import Account
from lowu.contracts.group import consensus_function
from lowu.contracts.registry import CONSENSUS_ADDRESS, SYSTEM_CONFIG_ADDRESS
from lowu.contracts.system_config import SystemKey, system_function
from lowu.node.chain.transaction import Transaction, decode_transaction

GOVERNOR_KEY = hashlib.sha256(b"lowu/sim/governor").digest()
GAS = 5_000_000
CHANGES = (0, 0, 1, 2, 4, 8)
SETTINGS = {
    SystemKey.TX_COUNT_LIMIT: (1, 2, 5, 1_000),
    SystemKey.LEADER_PERIOD: (1, 2, 3, 7),
    SystemKey.TX_GAS_LIMIT: (GAS, 10_000_000, 100_000_000),
}
WEIGHTS = (1, 1, 2, 3)

Change: TypeAlias = tuple[str, int, int]
"""A function's name, the node's index and its weight; or a setting's key, -1 and its value."""
_SET = system_function("setValueByKey")


class GroupChanges:
    """The changes of one run."""

    def __init__(self, random: Random, nodes: int, observers: int, suspect: int) -> None:
        """Begin with validators of weight 1; `suspect` may be Byzantine, -1 for none."""
        self._random = random
        self._weights = dict.fromkeys(range(nodes), 1)
        self._observers = set(range(nodes, nodes + observers))
        self._suspect = suspect

    def draw(self) -> list[Change]:
        """Return changes in order: a function's name, a node's index and weight; or a setting."""
        found: list[Change] = []
        for _ in range(self._random.choice(CHANGES)):
            if self._random.random() < 0.25:
                key = self._random.choice(list(SETTINGS))
                found.append((str(key), -1, self._random.choice(SETTINGS[key])))
                continue
            index = self._random.randrange(len(self._weights) + len(self._observers))
            weight = self._random.choice(WEIGHTS) if index != self._suspect else 1
            is_demoted = index in self._weights and self._random.random() < 0.4
            after = {**self._weights, index: weight}
            if is_demoted:
                del after[index]
            if not self._is_fit(after):
                continue
            self._weights = after
            (self._observers.add if is_demoted else self._observers.discard)(index)
            found.append(("addObserver", index, 0) if is_demoted else ("addSealer", index, weight))
        return found

    def _is_fit(self, weights: dict[int, int]) -> bool:
        faulty = compute_fault_threshold(sum(weights.values()))
        return len(weights) > 1 and weights.get(self._suspect, 0) <= faulty


def sign_changes(
    changes: Sequence[Change],
    node_ids: Sequence[bytes],
    nonce: int,
    chain_id: int,
) -> list[Transaction]:
    """Return the governor's transactions for changes, in order."""
    governor, found = Account(GOVERNOR_KEY), []
    for place, (name, index, value) in enumerate(changes):
        if index < 0:
            to, data = SYSTEM_CONFIG_ADDRESS, _SET.encode_call(name, str(value))
        else:
            rest = (value,) if name == "addSealer" else ()
            to = CONSENSUS_ADDRESS
            data = consensus_function(name).encode_call(node_ids[index].hex(), *rest)
        raw, _ = governor.sign_transaction(
            to=to,
            data=data,
            gas=GAS,
            nonce=nonce + place,
            chain_id=chain_id,
        )
        found.append(decode_transaction(raw))
    return found


def mix(
    random: Random, first: Sequence[Transaction], second: Sequence[Transaction]
) -> list[Transaction]:
    """Return two sequences as one, each in its order."""
    rest = [list(first)[::-1], list(second)[::-1]]
    found = []
    while rest[0] or rest[1]:
        found.append(random.choices(rest, [len(rest[0]), len(rest[1])])[0].pop())
    return found
