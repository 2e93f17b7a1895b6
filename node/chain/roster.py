"""The roster: what the group has decided for some height: its nodes, votes and settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from lowu.consensus.validators import Validator, ValidatorSet
from lowu.contracts.group import GroupNode, NodeKind
from lowu.contracts.system_config import GroupSettings
from lowu.node.chain.rlp_codec import Item, decode_rlp, encode_rlp
from lowu.node.crypto import keccak256


@dataclass(frozen=True, slots=True)
class Roster:
    """The nodes of the group, ordered by node id, and what it has set for them."""

    sealers: tuple[tuple[bytes, int], ...]
    """Node id and weight of each validator."""
    observers: tuple[bytes, ...]
    settings: GroupSettings | None = None
    """None on a chain of an earlier format, whose settings are those of genesis for ever."""

    @classmethod
    def of(cls, nodes: Sequence[GroupNode], settings: GroupSettings | None) -> Roster:
        """Return the roster in the contracts' answers."""
        sealers = ((item.node_id, item.weight) for item in nodes if item.kind is NodeKind.SEALER)
        observers = (item.node_id for item in nodes if item.kind is NodeKind.OBSERVER)
        return cls(tuple(sorted(sealers)), tuple(sorted(observers)), settings)

    @property
    def digest(self) -> bytes:
        """The digest that the header of a barrier has of the group after it."""
        return keccak256(encode_roster(self))

    @property
    def node_ids(self) -> frozenset[bytes]:
        """The ids of all nodes."""
        return frozenset(node_id for node_id, _ in self.sealers) | frozenset(self.observers)

    def validators(self, leader_period: int) -> ValidatorSet:
        """Return the nodes that vote; the leader's period is genesis's if none is set."""
        if self.settings is not None:
            leader_period = self.settings.leader_period
        return ValidatorSet(tuple(Validator(*item) for item in self.sealers), leader_period)


def encode_roster(roster: Roster) -> bytes:
    """Return the stored bytes of a roster."""
    parts: list[Item] = [[list(item) for item in roster.sealers], list(roster.observers)]
    if roster.settings is not None:
        parts.append(list(astuple(roster.settings)))
    return encode_rlp(parts)


def decode_roster(data: bytes) -> Roster:
    """Return a roster that is stored, or whose digest has been checked."""
    sealers, observers, *rest = decode_rlp(data)
    found = ((node_id, int.from_bytes(weight, "big")) for node_id, weight in sealers)
    settings = None
    if rest:
        settings = GroupSettings(*(int.from_bytes(value, "big") for value in rest[0]))
    return Roster(tuple(found), tuple(observers), settings)
