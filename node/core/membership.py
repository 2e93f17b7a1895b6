"""The validators of each height, asked of one place by every part of a node."""

from __future__ import annotations

from lowu.consensus.epochs import Epochs
from lowu.consensus.validators import ValidatorSet
from lowu.node.ledger.ledger import Ledger


class Membership:
    """Who decides which height, as far as this node's chain tells."""

    def __init__(self, validators: ValidatorSet, ledger: Ledger) -> None:
        """Begin with the validators of genesis, at the chain's head."""
        self.epochs = Epochs(validators)
        """As the consensus core keeps them: it is advanced here only."""
        self._ledger = ledger
        self.epochs.on_commit(ledger.head.number, None)

    def validators_at(self, height: int) -> ValidatorSet:
        """Return the validators that decide a height."""
        return self.epochs.at(height).validators

    @property
    def next_validators(self) -> ValidatorSet:
        """The validators that decide the height above the head."""
        return self.validators_at(self._ledger.head.number + 1)

    def epoch_at(self, height: int) -> int:
        """Return the first height of the validators that decide a height."""
        return self.epochs.at(height).first_height

    def on_block(self, height: int) -> None:
        """Note a committed block. No block changes the validators yet."""
        self.epochs.on_commit(height, None)
