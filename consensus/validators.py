"""The validator set: who votes, with which weight, and who leads (rules R-SET-1, R-LEAD-1).

Validators are sorted by node id; a node's position is its index in all messages. Leaders
rotate by count, not by weight, as in FISCO BCOS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from lowu.consensus.quorum import compute_fault_threshold, compute_quorum
from lowu.consensus.types import Height, NodeIndex, View

NOBODY: Mapping[NodeIndex, Height] = MappingProxyType({})
WEIGHT_MAX = 10_000
VALIDATORS_MAX = 256


@dataclass(frozen=True, slots=True)
class Validator:
    """One voting member: its node id (64 bytes, secp256k1 public key) and voting weight."""

    node_id: bytes
    weight: int = 1


@dataclass(frozen=True, slots=True)
class ValidatorSet:
    """An immutable, sorted validator set with its thresholds worked out once."""

    validators: tuple[Validator, ...]
    leader_period: int = 1
    fault_threshold: int = field(init=False)
    quorum: int = field(init=False)
    total_weight: int = field(init=False)
    _indices: dict[bytes, NodeIndex] = field(init=False, repr=False, compare=False)
    """By node id."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.validators) <= VALIDATORS_MAX:
            raise ValueError(f"a validator set has 1 to {VALIDATORS_MAX} members")
        if self.leader_period < 1:
            raise ValueError("leader_period must be at least 1")
        ordered = tuple(sorted(self.validators, key=lambda validator: validator.node_id))
        if len({validator.node_id for validator in ordered}) != len(ordered):
            raise ValueError("two validators share one node id")
        for validator in ordered:
            if not 1 <= validator.weight <= WEIGHT_MAX:
                raise ValueError(f"weight {validator.weight} is outside 1..{WEIGHT_MAX}")
        total = sum(validator.weight for validator in ordered)
        object.__setattr__(self, "validators", ordered)
        object.__setattr__(self, "total_weight", total)
        indices = {validator.node_id: index for index, validator in enumerate(ordered)}
        object.__setattr__(self, "_indices", indices)
        object.__setattr__(self, "fault_threshold", compute_fault_threshold(total))
        object.__setattr__(self, "quorum", compute_quorum(total))

    def __len__(self) -> int:
        return len(self.validators)

    def leader(
        self, height: Height, view: View, passed_over: Mapping[NodeIndex, Height] = NOBODY
    ) -> NodeIndex:
        """Return the leader of `height` in `view`: (⌊height / leader_period⌋ + view) mod n.

        A validator passed over up to this height or a higher one loses its turn to one of the
        others, to the next of them in each round (rule R-LEAD-2). The opener of a view is found
        without `passed_over`.
        """
        turns, size = height // self.leader_period + view, len(self.validators)
        leader = turns % size
        if passed_over.get(leader, -1) < height:
            return leader
        others = [index for index in range(size) if passed_over.get(index, -1) < height]
        return others[(turns // size + leader) % len(others)]

    def index_of(self, node_id: bytes) -> NodeIndex | None:
        """Return the index of a node id, or None for a node that does not vote."""
        return self._indices.get(node_id)

    def weight_of(self, indices: Iterable[NodeIndex]) -> int:
        """Return the summed weight of distinct indices."""
        distinct = set(indices)
        if self.total_weight == len(self.validators):
            return len(distinct)
        return sum(self.validators[index].weight for index in distinct)

    def has_quorum(self, indices: Iterable[NodeIndex]) -> bool:
        """Whether the indices hold quorum weight."""
        return self.weight_of(indices) >= self.quorum

    def has_honest(self, indices: Iterable[NodeIndex]) -> bool:
        """Whether the indices hold more than f weight, hence at least one honest validator."""
        return self.weight_of(indices) > self.fault_threshold
