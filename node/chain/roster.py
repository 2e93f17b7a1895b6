"""The roster: the nodes of the group, those with a vote and those without, at some height."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lowu.consensus.validators import Validator, ValidatorSet
from lowu.contracts.group import GroupNode, NodeKind
from lowu.node.chain.rlp_codec import decode_rlp, encode_rlp
from lowu.node.crypto import keccak256


@dataclass(frozen=True, slots=True)
class Roster:
    """The nodes of the group, ordered by node id."""

    sealers: tuple[tuple[bytes, int], ...]
    """Node id and weight of each validator."""
    observers: tuple[bytes, ...]

    @classmethod
    def of(cls, nodes: Sequence[GroupNode]) -> Roster:
        """Return the roster in the contract's list."""
        sealers = ((item.node_id, item.weight) for item in nodes if item.kind is NodeKind.SEALER)
        observers = (item.node_id for item in nodes if item.kind is NodeKind.OBSERVER)
        return cls(tuple(sorted(sealers)), tuple(sorted(observers)))

    @property
    def digest(self) -> bytes:
        """The digest that the header of a barrier has of the group after it."""
        return keccak256(encode_roster(self))

    @property
    def node_ids(self) -> frozenset[bytes]:
        """The ids of all nodes."""
        return frozenset(node_id for node_id, _ in self.sealers) | frozenset(self.observers)

    def validators(self, leader_period: int) -> ValidatorSet:
        """Return the nodes that vote."""
        return ValidatorSet(tuple(Validator(*item) for item in self.sealers), leader_period)


def encode_roster(roster: Roster) -> bytes:
    """Return the stored bytes of a roster."""
    return encode_rlp([[list(item) for item in roster.sealers], list(roster.observers)])


def decode_roster(data: bytes) -> Roster:
    """Return a roster that is stored, or whose digest has been checked."""
    sealers, observers = decode_rlp(data)
    found = ((node_id, int.from_bytes(weight, "big")) for node_id, weight in sealers)
    return Roster(tuple(found), tuple(observers))
