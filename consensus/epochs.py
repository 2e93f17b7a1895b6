"""Which validators decide which heights (PROTOCOL.md section 1).

Executing a block changes the membership: the block at height h may name the set that decides
h + 1 and above. Such a block is a barrier (rule R-BAR-1): no height above it is voted on before
it is stable, so only one set decides each height, and every voter knows that set. The heights
of one set are an *epoch*; each epoch starts in view 0 (docs/adr/0006).
"""

from __future__ import annotations

from dataclasses import dataclass

from lowu.consensus.errors import require_invariant
from lowu.consensus.types import Height
from lowu.consensus.validators import ValidatorSet

EPOCHS_BACK_MAX = 4
"""How many changes of validators an honest message may be behind."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """The validators of all heights from `first_height` to the next epoch."""

    first_height: Height
    validators: ValidatorSet


class Epochs:
    """The epochs of one chain as one node knows them, oldest first.

    Bounded by the number of membership changes of the chain, each a committed block.
    """

    def __init__(self, validators: ValidatorSet) -> None:
        self._epochs = [Epoch(1, validators)]
        self.settled_height: Height = 1
        """The validators are certain up to this height; above it a change may be in flight."""

    def restart(self, validators: ValidatorSet) -> None:
        """Forget all epochs: the chain is known anew, by a state that was loaded."""
        self._epochs = [Epoch(1, validators)]
        self.settled_height = 1

    @property
    def latest(self) -> Epoch:
        """The newest epoch known."""
        return self._epochs[-1]

    def at(self, height: Height) -> Epoch:
        """Return the epoch of a height, as far as it is known."""
        for epoch in reversed(self._epochs):
            if epoch.first_height <= height:
                return epoch
        return self._epochs[0]

    def before(self, epoch: Epoch) -> list[Epoch]:
        """Return the epochs before one, the newest first, at most `EPOCHS_BACK_MAX`."""
        older = [item for item in self._epochs if item.first_height < epoch.first_height]
        return older[: -EPOCHS_BACK_MAX - 1 : -1]

    def on_commit(self, height: Height, validators: ValidatorSet | None) -> None:
        """Record a durably committed block, and the validator set that it named, if any."""
        self.settled_height = max(self.settled_height, height + 1)
        if validators is None or height < self.latest.first_height:
            return
        require_invariant(
            validators != self.latest.validators, "an epoch must change the validator set"
        )
        self._epochs.append(Epoch(height + 1, validators))
