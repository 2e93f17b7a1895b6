"""A whole node that lies: messages that leave its gateway are altered and signed again.

Its replica and its disk are honest. The others must tolerate all that they receive, and may ban
it. The alterations are those of the core's simulation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import Any

from lowu.consensus.codec import decode_message, encode_message, signing_digest
from lowu.consensus.messages import Message, PrePrepare
from lowu.consensus.simulation.liars.behaviours import mutate_value
from lowu.consensus.types import Domain
from lowu.node.gateway.framing import FrameKind
from lowu.node.gateway.gateway import Gateway
from lowu.node.identity import NodeKey

MEMORY_MAX = 64
FIRST_EPOCH = 1


class LyingGateway(Gateway):
    """A gateway that alters what its node sends."""

    def __init__(self, random: Random, key: NodeKey, domain: Domain, **parts: Any) -> None:
        super().__init__(**parts)
        self.random = random
        self.memory: deque[Message] = deque(maxlen=MEMORY_MAX)
        self._key = key
        self._domain = domain

    def broadcast(self, node_ids: Iterable[bytes], kind: FrameKind, value: object) -> None:
        """Send each node the message or a lie: altered, with a replayed one, or nothing."""
        for node_id in node_ids:
            values = [value]
            if kind is FrameKind.CONSENSUS and isinstance(value, bytes):
                values = self._alter(value)
            for item in values:
                super().broadcast([node_id], kind, item)

    def _alter(self, data: bytes) -> list[object]:
        message = decode_message(data)
        self.memory.append(message)
        kind = self.random.random()
        if kind > 0.3:
            return [data]
        if kind < 0.1:
            return []
        if kind < 0.18:
            return [data, encode_message(self.random.choice(self.memory))]
        try:
            changed: Message = mutate_value(self, message)
            if isinstance(message, PrePrepare) and kind > 0.24:  # its parent does not exist
                nowhere = replace(message.proposal, previous=self.random.randbytes(32))
                changed = replace(message, proposal=nowhere)
            signature = self._key.sign(signing_digest(self._domain, FIRST_EPOCH, changed))
            return [encode_message(replace(changed, signature=signature))]
        except (OverflowError, TypeError, ValueError):
            return [data]  # the altered message cannot be encoded
