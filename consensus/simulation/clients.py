"""The clients of a simulated network, and the gossip that carries their transactions.

A liar may also make *private* transactions and show them to some nodes only: other nodes must
fetch these from a node that has them, and they may or may not be committed.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from lowu.consensus import inputs as ev
from lowu.consensus.simulation.kernel import Kernel
from lowu.consensus.simulation.node import SimNode
from lowu.consensus.types import Hash32, hash_bytes
from lowu.consensus.validators import ValidatorSet


class Clients:
    """The transactions sent, which nodes hold each, and gossip between nodes."""

    def __init__(self, world: Kernel, notice: Callable[[SimNode], None]) -> None:
        self._world = world
        self._notice = notice
        """Called with an instance at which transactions may be waiting."""
        self._random = Random(f"clients/{world.plan.seed}")
        self.submitted: dict[Hash32, None] = {}
        """Transactions of honest clients: all must be committed in the end."""
        self.private: dict[Hash32, None] = {}
        """Transactions of liars."""
        self.system: dict[Hash32, ValidatorSet] = {}
        """System transactions, with the validators that each names."""

    def __contains__(self, tx_hash: object) -> bool:
        """Whether any client or liar made this transaction."""
        return tx_hash in self.submitted or tx_hash in self.private

    def submit(self, members: tuple[int, ...] | None = None) -> None:
        """Gossip a new transaction; with `members`, one that makes them the validators."""
        tx_hash = hash_bytes(b"tx%d" % len(self.submitted))
        self.submitted[tx_hash] = None
        if members is not None:
            self.system[tx_hash] = self._world.validators_of(members)
        self._gossip(tx_hash)

    def make_private(self, maker: SimNode) -> Hash32:
        """Make a transaction that its maker shows to a random choice of peers only."""
        tx_hash = hash_bytes(b"private%d" % len(self.private))
        self.private[tx_hash] = None
        peers = [node for node in self._world.nodes if node is not maker]
        for node in self._random.sample(peers, self._random.randint(0, len(peers))):
            if node.replica is not None:
                node.pool[tx_hash] = None
                self.note_pool(node)
        return tx_hash

    def is_obtainable(self, node: SimNode, tx_hash: Hash32, peers: list[SimNode]) -> bool:
        """Whether a node has a transaction, or can fetch it from an honest one of its peers."""
        return (
            tx_hash in node.pool
            or tx_hash in self.submitted
            or any(tx_hash in peer.pool and peer.liar is None for peer in peers)
        )

    def refill(self, node: SimNode) -> None:
        """Give a node that has just started the transactions it has not committed."""
        for tx_hash in self.submitted:
            if tx_hash not in node.committed and not self._world.network.loses():
                node.pool[tx_hash] = None
        self.note_pool(node)

    def gossip_all(self) -> None:
        """Gossip to all nodes every transaction sent, and the private ones a correct node has."""
        held = {tx_hash for node in self._world.nodes if node.is_correct for tx_hash in node.pool}
        for tx_hash in (*self.submitted, *(item for item in self.private if item in held)):
            self._gossip(tx_hash)

    def _gossip(self, tx_hash: Hash32) -> None:
        for node in self._world.nodes:
            if node.replica is None or tx_hash in node.committed:
                continue
            if not self._world.network.loses():
                node.pool[tx_hash] = None
                self.note_pool(node)

    def note_pool(self, node: SimNode) -> None:
        """Tell an instance whether transactions are waiting there."""
        self._notice(node)
        self._world.answer(node, 0, ev.PendingChanged(bool(node.pool)))

    def are_served(self) -> bool:
        """Whether every correct node has committed every transaction sent to it."""
        count = len(self.submitted)
        return all(
            not node.pool and len(node.committed) >= count
            for node in self._world.nodes
            if node.is_correct
        )
