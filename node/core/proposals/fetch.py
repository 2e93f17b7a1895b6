"""Bodies between nodes: asking for those that are missing here, and answering the others.

A proposal names its transactions by their hashes. Those that this node's pool lacks are asked of
the proposer first, then of the other validators.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from lowu.consensus.effects import VerifyProposal
from lowu.node.chain.merkle import compute_root
from lowu.node.chain.transaction import Transaction, decode_transaction
from lowu.node.core.membership import Membership
from lowu.node.core.proposals.bodies import BodyStore
from lowu.node.errors import BadInput
from lowu.node.gateway.gateway import Gateway
from lowu.node.gateway.requests import BodyRequest, TransactionsRequest
from lowu.node.pool.txpool import BODY_BYTES_MAX, TxPool
from lowu.node.settings import BLOCK_TX_COUNT_MAX

log = logging.getLogger("TXPOOL")


class BodyExchange:
    """Fetches bodies for this node, and hands them to others."""

    def __init__(
        self,
        bodies: BodyStore,
        pool: TxPool,
        gateway: Gateway,
        membership: Membership,
    ) -> None:
        self._bodies = bodies
        self._pool = pool
        self._gateway = gateway
        self._membership = membership

    async def obtain(self, effect: VerifyProposal) -> list[Transaction]:
        """Return a proposal's transactions, from the pool and from peers.

        Raises:
            BadInput: no connected validator has all of them.
        """
        proposal = effect.proposal
        if effect.tx_hashes is None:
            return await self._fetch(effect, BodyRequest(proposal.height, effect.digest))
        found = {item: self._pool.get(item) for item in effect.tx_hashes}
        missing = tuple(tx_hash for tx_hash, known in found.items() if known is None)
        if missing:
            for transaction in await self._fetch(effect, TransactionsRequest(missing)):
                found[transaction.hash] = transaction
        return [known for item in effect.tx_hashes if (known := found[item]) is not None]

    async def _fetch(
        self, effect: VerifyProposal, request: BodyRequest | TransactionsRequest
    ) -> list[Transaction]:
        """Ask the proposer, then the others; the first complete answer is taken."""
        validators = self._membership.validators_at(effect.proposal.height).validators
        members = [item.node_id for item in validators]
        proposer = members[effect.proposal.proposer]
        for node_id in (proposer, *(item for item in members if item != proposer)):
            if node_id not in self._gateway.connected:
                continue
            try:
                answer = await self._gateway.request(node_id, request)
                found = [decode_transaction(raw) for raw in _byte_strings(answer)]
            except BadInput as error:
                log.info("fetch failed,peer=%s,reason=%s", node_id.hex()[:16], error)
                continue
            if _is_complete(effect, request, found):
                return found
        raise BadInput("no connected node has all of its transactions")

    def answer_body(self, request: BodyRequest) -> list[bytes] | None:
        """Return a proposal's transactions for a peer, None if unknown."""
        return self._bodies.read_raw(request.height, request.digest)

    def answer_transactions(self, request: TransactionsRequest) -> list[bytes] | None:
        """Return pooled or proposed transactions for a peer, None unless all are known."""
        if len(request.hashes) > BLOCK_TX_COUNT_MAX:
            raise BadInput("malformed transaction request")
        held = self._bodies.held()
        found = []
        size_bytes = 0
        for tx_hash in request.hashes:
            known = self._pool.get(tx_hash) or held.get(tx_hash)
            if known is None:
                return None
            size_bytes += len(known.raw)
            if size_bytes > BODY_BYTES_MAX:
                raise BadInput("asks for more transactions than a block holds")
            found.append(known.raw)
        return found


def _is_complete(
    effect: VerifyProposal,
    request: BodyRequest | TransactionsRequest,
    found: Sequence[Transaction],
) -> bool:
    hashes = tuple(item.hash for item in found)
    if isinstance(request, TransactionsRequest):
        return hashes == request.hashes
    return compute_root(hashes) == effect.proposal.tx_root


def _byte_strings(value: object) -> list[bytes]:
    if value is None:
        raise BadInput("it does not have them, or no longer")
    if not isinstance(value, list) or not all(isinstance(item, bytes) for item in value):
        raise BadInput("answer is not a list of byte strings")
    return value
