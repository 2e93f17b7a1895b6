"""The simulated network: directed links that delay, lose, repeat and reorder, or are cut."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeAlias

from lowu.consensus.messages import Message
from lowu.consensus.simulation.faults import Cut, Link, Rates
from lowu.consensus.simulation.node import SimNode

Parcel: TypeAlias = Message | bytes
"""A message, or bytes that a liar sends as one."""
Post: TypeAlias = tuple[SimNode, Parcel, int]
"""Receiver, parcel, and milliseconds of delay on top of the network's own."""
LONG_DELAY_MS = 1_000


class Network:
    """Carries parcels between instances."""

    def __init__(
        self,
        seed: int,
        rates: Rates,
        lost_kind: str,
        at: Callable[[int, Callable[[], None]], None],
        deliver: Callable[[SimNode, SimNode, Parcel], None],
    ) -> None:
        self._random = Random(f"network/{seed}")
        self._rates = rates
        self._lost_kind = lost_kind
        self._at = at
        self._deliver = deliver
        self._cut: dict[Link, int] = {}
        """The number of cuts on each link that has any."""
        self.is_faulty = True
        self.gate: Callable[[SimNode, SimNode, Parcel], bool] | None = None
        """If set, decides which parcels pass (Twins)."""
        self.may_fetch: Callable[[SimNode, SimNode], bool] | None = None
        """If set, decides which node may fetch from which peer (Twins)."""
        self.counts = {"dropped": 0, "duplicated": 0, "delayed": 0, "cut": 0}

    def draw_delay_ms(self) -> int:
        """Draw a usual delay, in milliseconds."""
        return self._random.randint(self._rates.delay_ms_min, self._rates.delay_ms_max)

    def is_up(self, sender: int, receiver: int) -> bool:
        """Whether a directed link has no cut."""
        return (sender, receiver) not in self._cut

    def is_linked(self, first: int, second: int) -> bool:
        """Whether two instances hear each other."""
        return self.is_up(first, second) and self.is_up(second, first)

    def cut(self, cut: Cut) -> None:
        """Cut links; a link that is cut twice must be mended twice."""
        for link in cut.links:
            self._cut[link] = self._cut.get(link, 0) + 1

    def mend(self, cut: Cut) -> None:
        """Undo one cut of links."""
        for link in cut.links:
            left = self._cut.get(link, 0) - 1
            if left > 0:
                self._cut[link] = left
            else:
                self._cut.pop(link, None)

    def heal(self) -> None:
        """End all faults."""
        self.is_faulty = False
        self._cut.clear()

    def loses(self) -> bool:
        """Whether something that is not a parcel (gossip, an announcement) gets lost now."""
        return self.is_faulty and self._random.random() < self._rates.drop

    def post(self, sender: SimNode, receiver: SimNode, parcel: Parcel, extra_ms: int = 0) -> None:
        """Send a parcel on its way."""
        if self.gate is not None and not self.gate(sender, receiver, parcel):
            return
        rates, random = self._rates, self._random
        copies = 1
        if self.is_faulty:
            is_lost = type(parcel).__name__ == self._lost_kind and random.random() < 0.9
            if is_lost or (rates.drop and random.random() < rates.drop):
                self.counts["dropped"] += 1
                return
            if rates.duplicate and random.random() < rates.duplicate:
                self.counts["duplicated"] += 1
                copies = 2
        for _ in range(copies):
            delay_ms = self.draw_delay_ms() + extra_ms
            is_long = self.is_faulty and rates.long_delay > 0
            if is_long and random.random() < rates.long_delay:
                self.counts["delayed"] += 1
                delay_ms += random.randint(0, LONG_DELAY_MS)
            self._at(delay_ms, lambda: self._arrive(sender, receiver, parcel))

    def _arrive(self, sender: SimNode, receiver: SimNode, parcel: Parcel) -> None:
        if self._cut and not self.is_up(sender.instance, receiver.instance):
            self.counts["cut"] += 1
            return
        self._deliver(sender, receiver, parcel)
