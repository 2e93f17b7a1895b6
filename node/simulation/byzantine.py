"""A whole node that lies to order: one that a researcher may have in a network of processes.

Its replica and its disk are honest; what leaves its gateway is not. A network has such nodes only
with the setting `allow_lies`, which no bundled network has. The others must tolerate what they
receive; up to f of them may lie.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import trio

from lowu.consensus.codec import compute_digest, decode_message, encode_message, signing_digest
from lowu.consensus.messages import Checkpoint, Commit, Message, Prepare, PrePrepare
from lowu.consensus.types import Domain
from lowu.contracts.named import tell_unknown
from lowu.node.chain.transaction import Transaction
from lowu.node.errors import BadInput
from lowu.node.gateway.framing import FrameKind
from lowu.node.gateway.gateway import Gateway
from lowu.node.identity import NodeKey
from lowu.node.pool.txpool import TxPool
from lowu.node.topology.spec import LIES

FIRST_EPOCH = 1
DELAY_S = 1.0
DOUBLES_MAX = 256


class ByzantineGateway(Gateway):
    """A gateway that lies while it is told to."""

    def __init__(self, key: NodeKey, domain: Domain, **parts: Any) -> None:
        super().__init__(**parts)
        self._key = key
        self._domain = domain
        self._lies: frozenset[str] = frozenset()
        self._doubles: dict[bytes, bytes] = {}
        """Digests of proposals, and of what some others were told instead."""
        self._late, self._too_late = trio.open_memory_channel[tuple[float, list[bytes], object]](
            DOUBLES_MAX
        )

    @property
    def lies(self) -> frozenset[str]:
        """What it does now that is not honest."""
        return self._lies

    def set_lies(self, names: Iterable[str]) -> None:
        """Lie so from now on; not at all if there are no names. `BadInput` for unknown ones."""
        chosen = frozenset(names)
        for name in sorted(chosen - LIES.keys()):
            raise BadInput(tell_unknown("lie", name, tuple(LIES)))
        self._lies = chosen

    def censors(self, transaction: Transaction) -> bool:
        """Whether a transaction is left out of this node's blocks."""
        return "censor" in self._lies and bool(transaction.sender[-1] & 1)

    def broadcast(self, node_ids: Iterable[bytes], kind: FrameKind, value: object) -> None:
        """Send what an honest node would, or lies."""
        chosen = sorted(node_ids)
        if not self._lies or kind is not FrameKind.CONSENSUS or not isinstance(value, bytes):
            super().broadcast(chosen, kind, value)
            return
        message = decode_message(value)
        if isinstance(message, PrePrepare) and message.proposal.proposer == message.sender:
            if "withhold" in self._lies:
                return
            if "delay" in self._lies:
                self._send_late(chosen, value)
                return
        if isinstance(message, Checkpoint) and "wrong-result" in self._lies:
            wrong = bytes(byte ^ 0xFF for byte in message.block_hash)
            message = replace(message, block_hash=wrong)
            super().broadcast(chosen, kind, self._encode(message))
            return
        told = chosen[: len(chosen) // 2] if "equivocate" in self._lies else []
        double = self._double(message) if told else None
        if double is not None:
            super().broadcast(told, kind, self._encode(double))
            chosen = chosen[len(told) :]
        super().broadcast(chosen, kind, value)

    def _double(self, message: Message) -> Message | None:
        """Return what the others are told instead of a message about a block."""
        match message:
            case PrePrepare() if message.proposal.proposer == message.sender:
                proposal = message.proposal
                other = replace(proposal, timestamp_ms=proposal.timestamp_ms + 1)
                first = compute_digest(self._domain, proposal)
                self._doubles[first] = compute_digest(self._domain, other)
                while len(self._doubles) > DOUBLES_MAX:
                    del self._doubles[next(iter(self._doubles))]
                return replace(message, proposal=other)
            case Prepare() | Commit() | Checkpoint() if message.digest in self._doubles:
                return replace(message, digest=self._doubles[message.digest])
        return None

    def _encode(self, message: Message) -> bytes:
        digest = signing_digest(self._domain, FIRST_EPOCH, message)
        return encode_message(replace(message, signature=self._key.sign(digest)))

    def _send_late(self, node_ids: list[bytes], value: object) -> None:
        try:
            self._late.send_nowait((trio.current_time() + DELAY_S, node_ids, value))
        except trio.WouldBlock:
            super().broadcast(node_ids, FrameKind.CONSENSUS, value)

    async def send_late_ones(self) -> None:
        """Send, for ever, what was put off."""
        async for time_s, node_ids, value in self._too_late:
            await trio.sleep_until(time_s)
            super().broadcast(node_ids, FrameKind.CONSENSUS, value)


class CensoringPool(TxPool):
    """A pool whose node leaves transactions out of its blocks."""

    def __init__(self, gateway: ByzantineGateway, *parts: Any) -> None:
        super().__init__(*parts)
        self._gateway = gateway

    def select(self, limit: int, taken: Iterable[Transaction]) -> list[Transaction]:
        """Return what an honest node would propose, without what is censored."""
        chosen = super().select(limit, taken)
        return [item for item in chosen if not self._gateway.censors(item)]
