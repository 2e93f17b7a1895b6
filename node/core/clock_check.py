"""Whether this validator's own clock is slow, by the times in the others' proposals.

A proposal that comes from the future is refused, and by itself says nothing of whose clock is off.
But if most proposers that this node has heard, an honest one among them, are ahead of it by more
than the rule allows, then it is this node that is behind: it will refuse one proposal after the
other until its clock is set, and has to say so itself (N-F15). A proposal that was long on its way
seems less far ahead than it is, so what is said here is the least.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from lowu.consensus.validators import ValidatorSet

CLOCK_AHEAD_MS_MAX = 15_000
"""How far a proposal's time may be ahead of a voter's clock (B10)."""

log = logging.getLogger("CONSENSUS")


class ClockCheck:
    """Compares the clock of one node with those of proposers."""

    def __init__(self, validators_now: Callable[[], ValidatorSet]) -> None:
        self._validators_now = validators_now
        self._validators = validators_now()
        self._times_ms: dict[int, int] = {}
        """By proposer: the time in its newest proposal."""
        self._ahead_ms: dict[int, int] = {}
        """By proposer: how far that was ahead of this node's clock when it was first seen."""
        self.behind_ms = 0
        """How far this node's clock is behind, at least; 0 unless it is by more than is allowed."""

    def note(self, proposer: int, timestamp_ms: int, now_ms: int) -> None:
        """Take note of the time in a proposal, unless it is an old one that is checked again."""
        self._begin_anew_with_new_validators()
        if timestamp_ms <= self._times_ms.get(proposer, -1):
            return
        self._times_ms[proposer] = timestamp_ms
        self._ahead_ms[proposer] = timestamp_ms - now_ms
        was_behind, self.behind_ms = self.behind_ms > 0, self._measure()
        if self.behind_ms and not was_behind:
            log.error(
                "this machine's clock is at least %.1f s behind those of most other proposers: "
                "what they propose is refused until it is set (is a time service running?)",
                self.behind_ms / 1_000,
            )
        elif was_behind and not self.behind_ms:
            log.info("this machine's clock is in step with the other proposers' again")

    def _begin_anew_with_new_validators(self) -> None:
        """Forget all times if the validators have changed: an index then means another one."""
        validators = self._validators_now()
        if validators != self._validators:
            self._validators = validators
            self._times_ms.clear()
            self._ahead_ms.clear()

    def _measure(self) -> int:
        """Return what an honest proposer at least is ahead, if most are by more than is allowed."""
        ahead_ms, weigh = self._ahead_ms, self._validators.weight_of
        far = [item for item, ahead in ahead_ms.items() if ahead > CLOCK_AHEAD_MS_MAX]
        far.sort(key=ahead_ms.__getitem__, reverse=True)
        if 2 * weigh(far) > weigh(ahead_ms):
            for count, proposer in enumerate(far, 1):
                if self._validators.has_honest(far[:count]):
                    return ahead_ms[proposer]
        return 0
