"""What faults of networks under test accept.

A fault that does nothing is worse than none: names, ends and delays that would have no effect are
errors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from lowu.contracts.named import UnknownName, tell_unknown
from lowu.contracts.registry import Jurisdiction
from lowu.node.topology.faults.link_shape import LinkShape
from lowu.node.topology.plan import Plan

Side = Jurisdiction | str
"""A side of the boundary, such as ``Jurisdiction.SZ`` or ``"SZ"``."""
End = Side | Sequence[Side]
"""What stands at one end of links: a side, a node, an institution, or several of them."""
DELAY_MAX_S = 3_600.0
SHARE_LEAST = 0.01
LOSS_MAX = 0.5
ENDS_OF_A_LINK = 2


def find_nodes(plan: Plan, names: tuple[str, ...]) -> list[str]:
    """Return the nodes' own names; each is named so, or by an institution that uses it.

    Raises:
        UnknownName: there is no such node.
        ValueError: none is named.
    """
    if not names:
        raise ValueError('name at least one node, such as "node0" or "webank"')
    found = []
    for name in names:
        planned = plan.find_node(name) if isinstance(name, str) else None
        if planned is None:
            users = [item.spec.id for item in plan.institutions]
            known = [item.name for item in plan.nodes] + users
            raise UnknownName(tell_unknown("node", name, known))
        found.append(planned.name)
    return found


def read_ends(plan: Plan, ends: tuple[End, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the nodes at the two ends of some links; `ValueError` if nothing is between them."""
    if len(ends) != ENDS_OF_A_LINK:
        told = ", ".join(map(repr, ends))
        raise ValueError(f'a link is between two ends: faults.cut("SZ", "HK"), not ({told})')
    one, other = (_read_end(plan, end) for end in ends)
    both = sorted({*one} & {*other})
    if both:
        raise ValueError(f"a link is between two ends, and {both[0]} stands at both")
    return one, other


def _read_end(plan: Plan, end: End) -> tuple[str, ...]:
    items: Iterable[object] = (end,) if isinstance(end, (str, Jurisdiction)) else end
    found: list[str] = []
    for item in items if isinstance(items, Iterable) else (items,):
        is_node = isinstance(item, str) and plan.find_node(item) is not None
        found += plan.find_end(str(item) if is_node else _read_side(plan, item).name)
    return tuple(dict.fromkeys(found))


def _read_side(plan: Plan, side: object) -> Jurisdiction:
    there = {node.side for node in plan.nodes}
    names = ", ".join(sorted(item.name for item in there))
    name = side.name if isinstance(side, Jurisdiction) else side
    found = Jurisdiction.__members__.get(name) if isinstance(name, str) else None
    if found is None:
        upper = str(name).upper()
        close = get_close_matches(upper, Jurisdiction.__members__, 1)
        mend = f"did you mean {close[0]!r}?" if close else f"this network has {names}"
        raise ValueError(f"{side!r} is no side of the boundary; {mend}")
    if found not in there:
        raise ValueError(f"no node of this network is in {found.name}; it has {names}")
    return found


def read_delay(delay_s: float) -> float:
    """Return a delay in seconds; `ValueError` if it is none."""
    is_number = isinstance(delay_s, (int, float)) and not isinstance(delay_s, bool)
    if not is_number or not math.isfinite(delay_s) or not 0 < delay_s <= DELAY_MAX_S:
        raise ValueError(
            f"a delay is a number of seconds up to {DELAY_MAX_S:.0f}, and comes first: "
            f'slow(0.5, "webank"), not {delay_s!r}'
        )
    return float(delay_s)


def read_share(share: float) -> float:
    """Return a share of a core; `ValueError` if it is none."""
    is_number = isinstance(share, (int, float)) and not isinstance(share, bool)
    if not is_number or not SHARE_LEAST <= share < 1:
        raise ValueError(
            f"a share is a number from {SHARE_LEAST} to below 1, and comes first: "
            f'throttle(0.2, "webank"), not {share!r}'
        )
    return float(share)


def read_ahead_ms(ahead_s: float) -> int:
    """Return by how much a clock is shifted, in milliseconds; `ValueError` if by nothing."""
    is_number = isinstance(ahead_s, (int, float)) and not isinstance(ahead_s, bool)
    if not is_number or not math.isfinite(ahead_s) or not 0.001 <= abs(ahead_s) <= DELAY_MAX_S:
        raise ValueError(
            f"a clock is some seconds ahead, or behind with -, up to {DELAY_MAX_S:.0f}, which come "
            f'first: clock(-2, "webank"), not {ahead_s!r}'
        )
    return round(ahead_s * 1_000)


def read_shape(delay_s: float, jitter_s: float, loss: float, bandwidth_mbit: float) -> LinkShape:
    """Return how bytes travel; `ValueError` if that has no effect, or cannot be."""
    values = {"delay_s": delay_s, "jitter_s": jitter_s, "bandwidth_mbit": bandwidth_mbit}
    for name, value in values.items():
        if not 0 <= value <= DELAY_MAX_S:
            raise ValueError(f"{name} is a number from 0 to {DELAY_MAX_S:.0f}, not {value!r}")
    if not 0 <= loss <= LOSS_MAX:
        raise ValueError(f"loss is the share of what is lost, up to {LOSS_MAX}, not {loss!r}")
    if not any((*values.values(), loss)):
        raise ValueError('say how bytes travel: link("SZ", "HK", delay_s=0.02)')
    return LinkShape(delay_s, jitter_s, loss, bandwidth_mbit * 1e6 / 8)


def find_sides(
    plan: Plan, ends: tuple[tuple[str, ...], tuple[str, ...]]
) -> tuple[Jurisdiction, Jurisdiction] | None:
    """Return the two sides that some ends are; None if they are not two whole sides."""
    whole = {frozenset(plan.find_end(side.name)): side for side in Jurisdiction}
    one, other = (whole.get(frozenset(end)) for end in ends)
    return None if one is None or other is None else (one, other)
