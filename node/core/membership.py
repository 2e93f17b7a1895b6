"""The validators and nodes of each height, asked of one place by every part of a node."""

from __future__ import annotations

from lowu.consensus.epochs import Epochs
from lowu.consensus.validators import ValidatorSet
from lowu.contracts.system_config import GroupSettings, SystemKey
from lowu.node.chain.roster import Roster
from lowu.node.genesis_config import GenesisConfig
from lowu.node.ledger.ledger import Ledger


class Membership:
    """Who takes part at which height, as far as this node's chain tells."""

    def __init__(self, genesis: GenesisConfig, ledger: Ledger) -> None:
        """Begin with the group of genesis, and follow the chain to its head."""
        validators = genesis.validators
        self.epochs = Epochs(validators)
        """As the consensus core keeps them: it is advanced here only."""
        self._ledger = ledger
        self._first = validators
        self._settings = genesis.settings
        self._seen = 0
        """Number of the ledger's rosters that the epochs follow."""
        self._follow()
        self.epochs.on_commit(ledger.head.number, None)

    def validators_at(self, height: int) -> ValidatorSet:
        """Return the validators that decide a height."""
        return self.epochs.at(height).validators

    @property
    def next_validators(self) -> ValidatorSet:
        """The validators that decide the height above the head."""
        return self.validators_at(self._ledger.head.number + 1)

    def settings_at(self, height: int) -> GroupSettings:
        """Return what the group has set for a height, as far as it is known."""
        for first_height, roster in reversed(self._ledger.rosters):
            if first_height <= height:
                return roster.settings or self._settings
        return self._settings

    def find_setting(self, key: SystemKey) -> tuple[int, int]:
        """Return the value of a setting for the next block, and since which height it holds."""
        value, since = self.next_settings.get(key), 0
        for first_height, roster in reversed(self._ledger.rosters):
            if (roster.settings or self._settings).get(key) != value:
                break
            since = first_height
        return value, since if since > 1 else 0  # 0: since genesis

    @property
    def next_settings(self) -> GroupSettings:
        """The settings of the height above the head."""
        return self._ledger.rosters[-1][1].settings or self._settings

    @property
    def roster(self) -> Roster:
        """The group's nodes from the height above the head on."""
        return self._ledger.rosters[-1][1]

    def epoch_at(self, height: int) -> int:
        """Return the first height of the validators that decide a height."""
        return self.epochs.at(height).first_height

    def on_block(self, height: int) -> None:
        """Note a committed block, and the validators that it has named, if any."""
        self._follow()
        self.epochs.on_commit(height, None)

    def restart(self) -> None:
        """Follow the ledger anew: another state was loaded into it."""
        self._seen = 0
        self.epochs.restart(self._first)
        self._follow()
        self.epochs.on_commit(self._ledger.head.number, None)

    def change_at(self, height: int) -> ValidatorSet | None:
        """Return the validators above a committed block, if it has changed them."""
        epoch = self.epochs.at(height + 1)
        return epoch.validators if epoch.first_height == height + 1 > 1 else None

    def _follow(self) -> None:
        """Take over what the ledger has noted; changes of observers alone begin no epoch."""
        rosters = self._ledger.rosters
        for first_height, roster in rosters[self._seen :]:
            validators = roster.validators(self._settings.leader_period)
            if validators != self.epochs.latest.validators:
                self.epochs.on_commit(first_height - 1, validators)
        self._seen = len(rosters)
