"""When transactions are due: arrival processes, each drawn from a seed.

An open-loop process sends by its own clock, whether or not the system keeps up; with ``closed`` a
number of clients each wait for an answer before they go on, for comparison with tools that do so.
The named profiles are those of the pilot and its plans (docs/EXPERIMENTS.md has their sources).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

DAY_S = 86_400.0
ARRIVALS_MAX = 20_000_000
"""Most transactions of one run: the records of more would not fit into memory."""
SURELY_TOO_MANY = 1.01 * ARRIVALS_MAX
"""Of a Poisson process: 40 standard deviations more."""
DRAWN_MAX = 2 * ARRIVALS_MAX
"""Most times that are drawn: where the rate changes, some are drawn only to be dropped."""
_TOO_MANY = f"more than {ARRIVALS_MAX:,} transactions in {{:g}} s; a shorter or slower run would do"


class ArrivalMistake(ValueError):
    """An arrival process that cannot be; the text says what would be right."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """An arrival process. Rates are transactions per second, times are seconds.

    Fields that a kind does not use are ignored.
    """

    kind: str = "constant"
    rate: float = 100.0
    """The rate of constant and poisson, the mean of diurnal, the rate within bursts."""
    to_rate: float = 0.0
    """The rate at which a ramp ends; it begins with `rate`."""
    burst_s: float = 1.0
    pause_s: float = 1.0
    """A burst of `burst_s`, in which transactions arrive at `rate`, then none for `pause_s`."""
    peak: float = 2.0
    """Of diurnal: the highest rate as a multiple of the mean."""
    period_s: float = DAY_S
    """Of diurnal: the length of a day."""
    clients: int = 1
    """Of closed: how many clients there are."""
    offsets_s: tuple[float, ...] = ()
    """Of replay: the recorded times, in order, from 0 on."""

    @property
    def is_open(self) -> bool:
        """Whether transactions arrive by a clock, not by answers."""
        return self.kind != "closed"

    def rate_at(self, time_s: float, duration_s: float) -> float:
        """Return the rate at a time of a run of some duration; of replay, its mean."""
        match self.kind:
            case "ramp":
                share = min(1.0, time_s / duration_s) if duration_s > 0 else 1.0
                return self.rate + (self.to_rate - self.rate) * share
            case "bursts":
                is_on = time_s % (self.burst_s + self.pause_s) < self.burst_s
                return self.rate if is_on else 0.0
            case "diurnal":
                wave = (1 + math.sin(2 * math.pi * time_s / self.period_s - math.pi / 2)) / 2
                return float(self.rate * self.peak * wave ** _sharpness(self.peak))
            case "replay":
                return sum(item < duration_s for item in self.offsets_s) / max(duration_s, 1e-9)
        return self.rate

    @property
    def _highest(self) -> float:
        """The highest rate of the process."""
        match self.kind:
            case "ramp":
                return max(self.rate, self.to_rate)
            case "diurnal":
                return self.rate * self.peak
        return self.rate

    def draw(self, duration_s: float, seed: int) -> list[float]:
        """Return the times at which transactions are due, in order, from 0 up to the duration.

        Raises:
            ArrivalMistake: there would be more than `ARRIVALS_MAX`, or the process is closed.
        """
        if not self.is_open:
            raise ArrivalMistake("a closed loop has no times: each client waits for its answer")
        if self.kind == "replay":
            return [item for item in self.offsets_s if item < duration_s]
        found: list[float] = []
        if self._highest * duration_s > DRAWN_MAX:
            raise ArrivalMistake(
                f"more than {DRAWN_MAX:,} times would have to be drawn for {duration_s:g} s "
                f"at up to {self._highest:g} a second; a shorter or slower run would do"
            )
        is_even = self.kind in ("constant", "poisson")
        if is_even and self.rate * duration_s > SURELY_TOO_MANY:  # not found out by drawing them
            raise ArrivalMistake(_TOO_MANY.format(duration_s))
        for time_s in self._walk(duration_s, Random(f"lowu arrivals {seed}")):  # noqa: S311
            found.append(time_s)
            if len(found) > ARRIVALS_MAX:
                raise ArrivalMistake(_TOO_MANY.format(duration_s))
        return found

    def _walk(self, duration_s: float, random: Random) -> Iterator[float]:
        if self.kind == "poisson":
            time_s = random.expovariate(self.rate)
            while time_s < duration_s:
                yield time_s
                time_s += random.expovariate(self.rate)
        elif self.kind == "constant":
            for number in range(math.ceil(duration_s * self.rate)):
                yield number / self.rate
        else:
            yield from self._thin(duration_s, random)

    def _thin(self, duration_s: float, random: Random) -> Iterator[float]:
        """Draw a Poisson process whose rate changes, by thinning one of the highest rate."""
        time_s = random.expovariate(self._highest)
        while time_s < duration_s:
            if random.random() * self._highest < self.rate_at(time_s, duration_s):
                yield time_s
            time_s += random.expovariate(self._highest)


@lru_cache
def _sharpness(peak: float) -> float:
    """Return the power of a raised sine whose peak is so many times its mean.

    The mean of ((1 + sin) / 2)^n is Γ(n + 1/2) / (√π Γ(n + 1)), which falls as n grows.
    """
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        mean = math.exp(math.lgamma(middle + 0.5) - math.lgamma(middle + 1)) / math.sqrt(math.pi)
        low, high = (middle, high) if mean > 1 / peak else (low, middle)
    return low


KINDS = {
    "constant": ("rate",),
    "poisson": ("rate",),
    "bursts": ("rate", "burst_s", "pause_s"),
    "ramp": ("rate", "to_rate"),
    "diurnal": ("rate", "peak", "period_s"),
    "closed": ("clients",),
    "replay": ("file",),
}
"""By kind of arrival process: the keys that a file gives for it."""
PROFILES = {
    "pilot": Arrivals("poisson", 4 / DAY_S),
    "demand": Arrivals("diurnal", 320 / DAY_S, peak=2.0),
    "admissions": Arrivals("poisson", 30_000 / (10 * DAY_S)),
    "healthcode": Arrivals("diurnal", 1.2, peak=8.0),
    "stress": Arrivals("ramp", 10.0, to_rate=2_000.0),
}
"""Named profiles: 4 a day in the pilot, 320 a working day of expected demand, 30,000 admissions in
ten days, health codes at 1.2 a second with a peak of eight times that, and a ramp into overload."""


def compress(arrivals: Arrivals, factor: float) -> Arrivals:
    """Return a process that runs `factor` times as fast: a day in minutes."""
    return Arrivals(
        arrivals.kind,
        arrivals.rate * factor,
        arrivals.to_rate * factor,
        arrivals.burst_s / factor,
        arrivals.pause_s / factor,
        arrivals.peak,
        arrivals.period_s / factor,
        arrivals.clients,
        tuple(item / factor for item in arrivals.offsets_s),
    )


def read_offsets(lines: Sequence[str]) -> tuple[float, ...]:
    """Return the times of a recorded trace: a number of seconds a line, shifted to begin at 0.

    Raises:
        ArrivalMistake: a line is no number, or there is none.
    """
    found: list[float] = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ArrivalMistake(f"line {number}: {text[:40]!r} is no number of seconds")
        found.append(value)
    if not found:
        raise ArrivalMistake("it has no times")
    found.sort()
    return tuple(value - found[0] for value in found)
