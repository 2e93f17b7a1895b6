"""Orders to fail: at which durable step of a node, how, and what it is doing then.

An order reads ``point:mode``, then perhaps ``:situation`` and ``:count``. By
``vote:torn-half:leading:3``, the third write of votes that the node makes while it leads reaches
the disk by half, and the node dies. `node/simulation/failpoints.py` carries orders out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lowu.contracts.named import tell_unknown
from lowu.node.errors import BadInput

VARIABLE = "LOWU_FAIL"
"""The environment variable with orders for nodes that start, as ``node1=vote:after,node2=…``."""
COUNT_MAX = 1_000_000
SHOWN = 80
"""How much of a wrong order is repeated in the error."""


class Failpoint(StrEnum):
    """The durable steps of a node, in the order in which it first makes them."""

    GENESIS = "genesis"
    """The first records of a new database."""
    NEW_TRACE = "new-trace"
    """A new trace of the last vote, which replaces any old one."""
    FIRST_START = "first-start"
    """The marker of a node that never ran is removed."""
    PROPOSAL = "proposal"
    """The bodies of a proposal, before the vote for it."""
    VOTE = "vote"
    """The vote records of a step, views and certificates of the view change included."""
    TRACE = "trace"
    """The mark of that step in the trace, before its messages leave."""
    BLOCK = "block"
    """A block with its certificate, receipts, state and the new head: one batch."""
    IMPORT_CHUNK = "import-chunk"
    """A chunk of other nodes' state, beside the own one."""
    IMPORT_BEGIN = "import-begin"
    """All chunks are there: the own state is given up; then, that it is gone."""
    IMPORT_MOVE = "import-move"
    """A part of the new state takes its place."""
    IMPORT_END = "import-end"
    """The block of the new state becomes the head."""
    FORGET = "forget"
    """Votes are dropped at a start, as some may be lost."""
    SET_ASIDE = "set-aside"
    """A damaged database is moved out of the way."""


class FailMode(StrEnum):
    """What happens at the step."""

    BEFORE = "before"
    """The node dies before it."""
    AFTER = "after"
    """The node dies once it is durable."""
    TORN_START = "torn-start"
    """The first byte of the write is on the disk when the node dies."""
    TORN_HALF = "torn-half"
    TORN_END = "torn-end"
    """All but the last byte."""
    ERROR = "error"
    """The write fails, and nothing of it is on the disk."""
    LATE_ERROR = "late-error"
    """The write fails, although all of it is on the disk (F31)."""


class Situation(StrEnum):
    """What a validator does at the time of a step."""

    LEADING = "leading"
    FOLLOWING = "following"
    CHANGING = "changing"
    """It changes its view."""
    SYNCING = "syncing"
    """It lags, and fetches blocks."""


TORN_SHARES: Mapping[FailMode, float] = {
    FailMode.TORN_START: 0.0,
    FailMode.TORN_HALF: 0.5,
    FailMode.TORN_END: 1.0,
}
"""How much of a write is on the disk; of 0 and 1 one byte more, or less."""
UNTEARABLE = (Failpoint.FIRST_START, Failpoint.SET_ASIDE)
"""Steps that the file system does wholly or not at all."""


@dataclass(frozen=True, slots=True)
class FailOrder:
    """At which step a node is to fail, and how."""

    point: Failpoint
    mode: FailMode
    situation: Situation | None = None
    """Only steps in it count; all if there is none."""
    count: int = 1
    """Which of these steps, from 1 on."""

    def __str__(self) -> str:
        """Return it as `parse_order` reads it."""
        parts = [self.point, self.mode, *([self.situation] if self.situation else [])]
        return ":".join([*parts, *([str(self.count)] if self.count != 1 else [])])


def parse_order(text: str) -> FailOrder:
    """Return the order in a text; `BadInput` says what is wrong with it."""
    point, _, rest = text.partition(":")
    mode, *more = rest.split(":")
    _check_known("failpoint", point, [item.value for item in Failpoint])
    _check_known("mode", mode, [item.value for item in FailMode])
    if FailMode(mode) in TORN_SHARES and Failpoint(point) in UNTEARABLE:
        raise BadInput(f"{text!r}: the file system does {point} wholly or not at all")
    situation, count = None, 1
    if more and not more[0].isdecimal():
        _check_known("situation", more[0], [item.value for item in Situation])
        situation = Situation(more.pop(0))
    if more:
        number = more.pop(0)
        is_short = number.isascii() and len(number) <= len(str(COUNT_MAX))
        if not (is_short and number.isdecimal() and 1 <= int(number) <= COUNT_MAX):
            raise BadInput(f"{text[:SHOWN]!r}: the count must be in 1..{COUNT_MAX:,}")
        count = int(number)
    if more:
        raise BadInput(f"{text[:SHOWN]!r}: an order is point:mode[:situation][:count]")
    return FailOrder(Failpoint(point), FailMode(mode), situation, count)


def _check_known(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise BadInput(tell_unknown(what, name[:SHOWN], known))


def find_order(text: str, node: str) -> FailOrder | None:
    """Return a node's order in the text of `VARIABLE`; `BadInput` if one cannot be read."""
    for part in filter(None, text.split(",")):
        name, is_order, order = part.partition("=")
        if not is_order:
            raise BadInput(f"{VARIABLE}: {part!r} names no node; write node1={part}")
        if name == node:
            return parse_order(order)
    return None
