"""What instances keep on their disks: blocks down to some height, some of them damaged, and states.

The real node does the same over databases and sockets (node/core/snapshots.py, scrub.py). An
instance that is far behind goes on from a state that validators of more than f weight have. Then it
has none of the blocks below, and others cannot fetch them from it. A damaged block is written anew
from a peer that has it.
"""

from __future__ import annotations

from collections.abc import Sequence

from lowu.consensus.simulation.faults import Rot
from lowu.consensus.simulation.kernel import Kernel
from lowu.consensus.simulation.node import SimNode
from lowu.consensus.types import Height

STATES_MAX = 2
"""States that an instance keeps."""


def keeps(node: SimNode, height: Height) -> bool:
    """Whether an instance has a block with its transactions, undamaged."""
    return node.base < height <= len(node.chain) and height not in node.damaged


def pin(node: SimNode, period: int) -> None:
    """Keep the state after the last block, if it is one that all keep."""
    if period and len(node.chain) % period == 0:
        node.states = [*node.states, len(node.chain)][-STATES_MAX:]


def find_state(node: SimNode, peers: Sequence[SimNode], period: int) -> tuple[SimNode, Height]:
    """Return who has the newest state that is worth loading and vouched for, and its height.

    The height is 0 if there is none.
    """
    offers: dict[Height, list[SimNode]] = {}
    for peer in peers:
        is_offered = bool(peer.states) and not peer.lies_by("mishelp")
        if is_offered and peer.states[-1] - len(node.chain) >= period:
            offers.setdefault(peer.states[-1], []).append(peer)
    for height, owners in sorted(offers.items(), reverse=True):
        sound = [peer for peer in owners if peer.liar is None and not peer.diverges_at]
        if not sound:
            continue  # what is offered is refused in the end, as it does not follow from block 0
        validators = sound[0].epochs.at(height + 1).validators
        found = map(validators.index_of, {peer.node_id for peer in owners})
        if validators.has_honest([index for index in found if index is not None]):
            return sound[0], height
    return node, 0


def rot(world: Kernel, fault: Rot) -> bool:
    """Damage a block of an instance, if another one has it that does not lie; return whether."""
    node = world.nodes[fault.instance]
    kept = range(node.base + 1, len(node.chain) + 1)
    if not kept:
        return False
    height = kept[fault.place % len(kept)]
    others = [peer for peer in world.nodes if peer is not node and peer.is_correct]
    if not any(keeps(peer, height) for peer in others):
        return False
    node.damaged.add(height)
    return True


def has_last_copy(world: Kernel, node: SimNode) -> bool:
    """Whether an instance alone still has a block that is damaged elsewhere."""
    others = [peer for peer in world.nodes if peer is not node and peer.is_correct]
    damaged = {height for peer in others for height in peer.damaged}
    return any(
        keeps(node, height) and not any(keeps(peer, height) for peer in others)
        for height in damaged
    )


def waits_for_blocks(world: Kernel, node: SimNode) -> bool:
    """Whether a damaged block of an instance is still to be had: states replace blocks for good."""
    others = [peer for peer in world.nodes if peer is not node and peer.is_correct]
    return any(keeps(peer, height) for height in node.damaged for peer in others)


def mend(node: SimNode, peers: Sequence[SimNode]) -> list[Height]:
    """Write damaged blocks anew that a peer has; return their heights.

    What a liar serves instead does not fit the certificates above it, and is refused.
    """
    honest = [peer for peer in peers if not peer.lies_by("mishelp")]
    mended = sorted(
        height for height in node.damaged if any(keeps(peer, height) for peer in honest)
    )
    node.damaged.difference_update(mended)
    return mended
