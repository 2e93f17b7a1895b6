"""What a load consists of: kinds of work, drawn by their shares.

Each piece follows from its number and the run's seed alone, so that a run can be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from random import Random

from lowu.experiments.load.offered.journeys import JOURNEYS, Draw
from lowu.experiments.load.offered.steps import Sender, SendStep, Step
from lowu.experiments.load.offered.workloads import WORKLOADS

ALL_WORKLOADS = {
    **{name: item.told for name, item in WORKLOADS.items()},
    **{name: item.told for name, item in JOURNEYS.items()},
}
"""All of them by name, each with what it does."""
REGISTRY_WORKLOADS = frozenset(("register", "batch", *JOURNEYS))
"""Those that only institutions of a Lowu network may do."""


class Mix:
    """Draws the kind of each piece of work by its share."""

    def __init__(self, shares: Mapping[str, float], seed: int) -> None:
        self.names = list(shares)
        self._bounds = list(accumulate(shares.values()))
        self._seed = seed

    @property
    def contracts(self) -> list[str]:
        """The artifacts that have to be deployed, each once."""
        needed = (WORKLOADS[name].contract for name in self.names if name in WORKLOADS)
        return list(dict.fromkeys(filter(None, needed)))

    @property
    def is_single(self) -> bool:
        """Whether each piece is one transaction, so that it can be signed in advance."""
        return all(name in WORKLOADS for name in self.names)

    @property
    def needs_stock(self) -> bool:
        """Whether anchors have to be there before the load."""
        return any(name in JOURNEYS and JOURNEYS[name].needs_stock for name in self.names)

    def check(self, senders: Sequence[Sender]) -> None:
        """Raise `ValueError` if these accounts cannot do all of it."""
        if any(item.is_receiver for item in senders):
            return
        for name in self.names:
            if name in JOURNEYS and JOURNEYS[name].needs_receiver:
                raise ValueError(f"{name} needs an institution with the role VERIFIER")

    def draw(
        self,
        number: int,
        issuer: int,
        senders: Sequence[Sender],
        chain_id: int,
        addresses: Mapping[str, bytes],
    ) -> tuple[int, tuple[Step, ...]]:
        """Return the kind, as its place in `names`, and the steps of a piece of work.

        The sender at `issuer` begins it; the workloads' contracts have `addresses`.
        """
        random = Random(f"lowu workload {self._seed} {number}")  # noqa: S311  (simulation)
        at = random.random() * self._bounds[-1]
        kind = next(place for place, bound in enumerate(self._bounds) if at < bound)
        name = self.names[kind]
        if name in JOURNEYS:
            return kind, JOURNEYS[name].plan(Draw(number, issuer, senders, chain_id, random))
        workload = WORKLOADS[name]
        address = addresses.get(workload.contract, bytes(19) + b"\xff")
        call = workload.build(number, senders[issuer].schema, address, random)
        return kind, (SendStep(issuer, call),)


def tell_shares(shares: Mapping[str, float]) -> str:
    """Return a mix for people: ``register``, or ``register 80 %, transfer 20 %``."""
    if len(shares) == 1:
        return next(iter(shares))
    total = sum(shares.values())
    return ", ".join(f"{name} {share / total * 100:.0f} %" for name, share in shares.items())
