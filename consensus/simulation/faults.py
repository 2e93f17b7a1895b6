"""The faults of a run as data: a plan lists them, a world performs them, liars behave by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

Link: TypeAlias = tuple[int, int]
"""Sending and receiving instance, by number."""

BEHAVIOURS: Final = (
    "accuse", "censor", "delay", "equivocate", "flood", "forge", "garbage", "misexecute", "mishelp",
    "mutate", "mute", "propose_ill", "replay", "silent", "view_lie", "withhold",
)  # fmt: skip
"""What a Byzantine validator may do, by name and in order; see `liars.behaviours`."""


@dataclass(frozen=True, slots=True)
class Crash:
    """An instance stops at once and comes back later, from what is durable or left of it."""

    at_ms: int
    instance: int
    down_ms: int
    is_wiped: bool = False
    """Whether it loses its votes, with blocks."""
    kept_blocks: int = 0
    """How many of its oldest blocks a wiped one is left."""


@dataclass(frozen=True, slots=True)
class Rot:
    """A block of an instance cannot be read any more, until it is had from another one."""

    at_ms: int
    instance: int
    place: int
    """Which one, counted from its oldest one, and over again."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Directed links that deliver nothing for a while."""

    at_ms: int
    until_ms: int
    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """Clients submit a system transaction that makes `members` the validators."""

    at_ms: int
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rates:
    """Message delays, and probabilities per message or step before the healing."""

    delay_ms_min: int = 1
    delay_ms_max: int = 20
    drop: float = 0.0
    duplicate: float = 0.0
    long_delay: float = 0.0
    """Share of messages delayed by up to a second more: far beyond the usual reordering."""
    crash_mid_step: float = 0.0
    """Probability that a step crashes its instance after some of its effects."""
    lost_answer: float = 0.0
    """Share of attempts to verify a proposal that do not find its bodies."""
