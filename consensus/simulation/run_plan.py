"""What one run does: a `RunPlan` drawn from a seed, complete enough to be stored and replayed.

A plan lists each fault separately, so that a failing plan can be shrunk by leaving faults out,
and kept in a file that outlives the code that drew it. Drawing follows swarm testing: each kind
of fault is first drawn on or off, then how hard it strikes. Ranges follow TigerBeetle's VOPR.

A plan keeps to the protocol's fault bound: Byzantine, twinned, diverging, wiped and dead
validators together hold at most f weight of every validator set of the run. Everything else
(crashes, partitions, loss) may strike any node before the healing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from random import Random
from typing import Any, Final

from lowu.consensus.quorum import compute_fault_threshold
from lowu.consensus.simulation.faults import BEHAVIOURS, Change, Crash, Cut, Link, Rates, Rot

FORMAT: Final = "lowu/plan/2"
_FORMAT_BEFORE: Final = "lowu/plan/1"
"""Without states and damaged blocks."""
LOSABLE: Final = (
    "PrePrepare", "Prepare", "Commit", "Checkpoint", "ViewChange", "NewView", "NewView", "Status",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunPlan:
    """One run. Times are virtual milliseconds; nodes are numbered as in `weights`."""

    seed: int
    """Decides everything that the plan does not fix: delays, losses, what liars say."""
    weights: tuple[int, ...]
    """One entry for each node, including those that are not validators yet."""
    members: tuple[int, ...]
    """The validators of genesis."""
    submissions: tuple[int, ...]
    """The times at which clients submit a transaction."""
    heal_ms: int
    """The time at which faults end, except that liars go on lying and the dead stay dead."""
    rates: Rates = field(default_factory=Rates)
    window: int = 8
    leader_period: int = 1
    block_txs_max: int = 8
    snapshot_blocks: int = 0
    """Blocks between two states that nodes keep for those far behind; 0 for none."""
    crashes: tuple[Crash, ...] = ()
    rots: tuple[Rot, ...] = ()
    cuts: tuple[Cut, ...] = ()
    changes: tuple[Change, ...] = ()
    byzantine: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """Nodes with their behaviours, by name."""
    dead: tuple[int, ...] = ()
    """Nodes that stay down after the healing."""
    slow: tuple[tuple[int, int], ...] = ()
    """Nodes whose execution is slower, each by how many milliseconds."""
    skews: tuple[tuple[int, int], ...] = ()
    """Nodes whose clocks are off, each by how many milliseconds (negative: behind)."""
    diverging: tuple[tuple[int, int], ...] = ()
    """Nodes whose execution is wrong from a height on: they must halt, and count as faulty."""
    lost_kind: str = ""
    """Kind of message of which nine in ten are lost before the healing, if any."""
    is_relaying: bool = False
    """Whether links carry messages of other senders: then signatures alone must protect."""
    announce_ms: int = 1_000
    """Period in which validators learn peers' heights without asking: a multiple of 1,000 ms."""
    twins: tuple[int, ...] = ()
    """Nodes that run twice with one key; the second copies are numbered after all nodes."""

    @property
    def faulty(self) -> frozenset[int]:
        """Nodes that count as faulty to the end, wiped ones among them: these abstain."""
        named = [node for node, _ in (*self.byzantine, *self.diverging)]
        wiped = [crash.instance for crash in self.crashes if crash.is_wiped]
        return frozenset((*named, *self.dead, *self.twins, *wiped))

    @property
    def faults(self) -> int:
        """How many faults the plan lists."""
        faulty = sum(map(len, (self.byzantine, self.dead, self.diverging, self.twins)))
        listed = len(self.crashes) + len(self.cuts) + len(self.rots)
        return listed + faulty + bool(self.lost_kind)


def fault_threshold(plan: RunPlan, members: Sequence[int]) -> int:
    """Return f of a validator set of the plan."""
    return compute_fault_threshold(sum(plan.weights[member] for member in members))


# --- drawing --------------------------------------------------------------------------------


def draw_plan(seed: int, nodes: int) -> RunPlan:
    """Draw the plan of a seed for a network of `nodes` validators."""
    random = Random(f"plan/{seed}/{nodes}")
    count = max(4, random.choice((4, 12, 30)) * 4 // max(4, nodes))
    spread_ms = count * random.choice((5, 40, 150))
    plan = RunPlan(
        seed=seed,
        weights=_draw_weights(random, nodes),
        members=tuple(range(nodes)),
        submissions=tuple(sorted(random.randint(0, spread_ms) for _ in range(count))),
        heal_ms=spread_ms + random.choice((500, 2_000, 2_000, 15_000)),
        rates=_draw_rates(random),
        window=random.choice((1, 2, 8, 8, 8, 50)),
        leader_period=random.choice((1, 1, 1, 3)),
        block_txs_max=random.choice((1, 8, 8)),
        announce_ms=random.choice((1_000, 1_000, 60_000)),
    )
    if nodes >= 2 and random.random() < 0.2:
        plan = _draw_changes(random, plan)
    plan = _draw_faulty(random, plan)
    if random.random() < 0.15:  # an adversary does what the network may do for a while
        heal_ms = plan.heal_ms + random.choice((0, 20_000, 90_000))
        plan = replace(plan, lost_kind=random.choice(LOSABLE), heal_ms=heal_ms)
    plan = replace(
        plan,
        crashes=_draw_crashes(random, plan),
        cuts=_draw_cuts(random, plan),
        slow=_draw_some(random, plan, 0.2, (50, 400, 2_000)),
        skews=_draw_some(random, plan, 0.3, (-5_000, -300, 300, 5_000)),
        is_relaying=random.random() < 0.3,
    )
    plan = _draw_disks(Random(f"disks/{seed}/{nodes}"), plan)
    return _draw_replaced(Random(f"replaced/{seed}/{nodes}"), plan)


def _draw_weights(random: Random, nodes: int) -> tuple[int, ...]:
    if random.random() < 0.75:
        return (1,) * nodes
    return tuple(random.choice((1, 1, 2, 3, 5)) for _ in range(nodes))


def _draw_rates(random: Random) -> Rates:
    def rate(highest: float) -> float:
        return round(random.random() * highest, 4) if random.random() < 0.5 else 0.0

    return Rates(
        delay_ms_max=random.choice((2, 20, 20, 200)),
        drop=rate(0.3),
        duplicate=rate(0.5),
        long_delay=rate(0.1),
        crash_mid_step=rate(0.004),
        lost_answer=rate(0.2),
    )


def _draw_some(
    random: Random, plan: RunPlan, chance: float, values: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    if random.random() > chance:
        return ()
    nodes = range(len(plan.weights))
    chosen = sorted(random.sample(nodes, random.randint(1, max(1, len(nodes) // 2))))
    return tuple((node, random.choice(values)) for node in chosen)


def _draw_changes(random: Random, plan: RunPlan) -> RunPlan:
    """Let one to three nodes join or leave, one at a time."""
    weights, members = list(plan.weights), list(plan.members)
    changes = []
    for _ in range(random.randint(1, 3)):
        if len(members) > 2 and random.random() < 0.5:
            members.remove(random.choice(members))
        else:
            members.append(len(weights))
            weights.append(1)
        changes.append(Change(random.randint(0, plan.heal_ms), tuple(members)))
    # Each change names a complete set, so they may be executed in any order.
    changes.sort(key=lambda change: change.at_ms)
    return replace(plan, weights=tuple(weights), changes=tuple(changes))


def _fits(plan: RunPlan, faulty: Sequence[int]) -> bool:
    """Whether the nodes hold at most f weight of every validator set of the plan."""
    sets = [plan.members, *(change.members for change in plan.changes)]
    return all(
        sum(plan.weights[node] for node in set(faulty) & set(members))
        <= fault_threshold(plan, members)
        for members in sets
    )


def keeps_promise(plan: RunPlan) -> bool:
    """Whether the plan's faulty validators hold at most f weight of every validator set."""
    return _fits(plan, sorted(plan.faulty))


def _draw_faulty(random: Random, plan: RunPlan) -> RunPlan:
    """Draw Byzantine, twinned, dead and diverging nodes within the fault bound, joiners too."""
    chosen: list[int] = []
    if random.random() < 0.7:
        order = list(range(len(plan.weights)))
        random.shuffle(order)
        for node in order:
            if _fits(plan, [*chosen, node]):
                chosen.append(node)
    byzantine, twins, dead, diverging = [], [], [], []
    for node in sorted(chosen):
        kind = random.random()
        if kind < 0.7:
            names = random.sample(BEHAVIOURS, random.choice((1, 1, 2, 3)))
            byzantine.append((node, tuple(names)))
        elif kind < 0.8:
            twins.append(node)
        elif kind < 0.9:
            dead.append(node)
        else:
            diverging.append((node, random.randint(1, 6)))
    return replace(
        plan,
        byzantine=tuple(byzantine),
        twins=tuple(twins),
        dead=tuple(dead),
        diverging=tuple(diverging),
    )


def _draw_crashes(random: Random, plan: RunPlan) -> tuple[Crash, ...]:
    crashes = []
    liars = [node for node, _ in (*plan.byzantine, *plan.diverging)]
    if random.random() < 0.5:
        honest = [node for node in range(len(plan.weights)) if node not in liars]
        for _ in range(random.randint(1, 12)):
            at_ms = random.randint(0, plan.heal_ms)
            down_ms = random.choice((1, 200, 1_000, 5_000))
            crashes.append(Crash(at_ms, random.choice(honest), down_ms))
        if random.random() < 0.3:  # all at once (F06)
            at_ms = random.randint(0, plan.heal_ms)
            crashes += [Crash(at_ms, node, random.randint(1, 500)) for node in honest]
    if random.random() < 0.15:
        for node in range(len(plan.weights)):
            wiped = [crash.instance for crash in crashes if crash.is_wiped]
            lost = plan.faulty
            if node not in lost and _fits(plan, [*lost, *wiped, node]):
                at_ms = random.randint(plan.heal_ms // 4, plan.heal_ms)
                crashes.append(Crash(at_ms, node, random.choice((100, 2_000)), is_wiped=True))
    return tuple(sorted(crashes, key=lambda crash: (crash.at_ms, crash.instance)))


def _draw_disks(random: Random, plan: RunPlan) -> RunPlan:
    """Let nodes keep states, blocks become unreadable, and wiped nodes be left some blocks."""
    crashes = tuple(
        replace(crash, kept_blocks=random.choice((0, 0, 2, 1_000))) if crash.is_wiped else crash
        for crash in plan.crashes
    )
    period = random.choice((0, 0, 2, 3, 6))
    rots: list[Rot] = []
    if random.random() < 0.3:
        for _ in range(random.randint(1, 8)):
            node = random.randrange(len(plan.weights))
            rots.append(Rot(random.randint(0, plan.heal_ms), node, random.randrange(1_000)))
    rots.sort(key=lambda item: (item.at_ms, item.instance))
    return replace(plan, crashes=crashes, snapshot_blocks=period, rots=tuple(rots))


def _draw_replaced(random: Random, plan: RunPlan) -> RunPlan:
    """Let all but one member be replaced while some lag; then wipe the one that stays (R-WIPE-1).

    One of those that lag hears of the blocks from another one only, which is cut off about when the
    barrier is committed. The one that stays loses its disk later, and hears of them alone at first.
    """
    count = len(plan.members)
    if count < 4 or random.random() > 0.01:
        return plan
    stays, *former = random.sample(range(count), count)
    quorum = count - (count - 1) // 3
    far, *near = former[: quorum - 1]
    rest = former[quorum - 1 :]
    fresh = tuple(range(count, 2 * count - 1))
    others = [*rest, *fresh]
    change_ms, wipe_ms = random.randint(200, 800), random.randint(3_000, 4_500)
    late_ms, heal_ms = change_ms + random.randint(50, 700), wipe_ms + 12_000

    def apart(ones: Sequence[int], twos: Sequence[int], since_ms: int, until_ms: int) -> Cut:
        return Cut(since_ms, until_ms, _between(ones, twos) + _between(twos, ones))

    return RunPlan(
        seed=plan.seed,
        weights=(1,) * (2 * count - 1),
        members=tuple(range(count)),
        submissions=tuple(range(0, wipe_ms + 3_000, 40)),
        heal_ms=heal_ms,
        window=random.choice((2, 8)),
        block_txs_max=1,
        slow=tuple((node, random.choice((30, 60))) for node in range(2 * count - 1)),
        changes=(Change(change_ms, (stays, *fresh)),),
        cuts=(
            apart([far], [stays], 1, wipe_ms),
            apart([far], others, 1, heal_ms),
            apart(near, [stays], late_ms, wipe_ms),
            apart(near, others, late_ms, heal_ms),
            apart([stays], others, wipe_ms, wipe_ms + 4_500),
        ),
        crashes=(
            Crash(wipe_ms, random.choice(fresh), 10_000),
            Crash(wipe_ms + 3, stays, 50, is_wiped=True),
        ),
    )


def _draw_cuts(random: Random, plan: RunPlan) -> tuple[Cut, ...]:
    if random.random() < 0.5:
        return ()
    nodes = range(len(plan.weights) + len(plan.twins))
    cuts: list[Cut] = []
    for _ in range(random.randint(1, 8)):
        at_ms = random.randint(0, plan.heal_ms)
        until_ms = min(plan.heal_ms, at_ms + random.choice((100, 1_000, 4_000, 30_000)))
        kind = random.choice((split, split, one_way, isolate, bridge, clog))
        cuts.append(Cut(at_ms, until_ms, kind(random, nodes)))
    if random.random() < 0.2:
        cuts += swizzle(random, plan)
    return tuple(sorted(cuts, key=lambda cut: cut.at_ms))


def _between(first: Sequence[int], second: Sequence[int]) -> tuple[Link, ...]:
    return tuple((a, b) for a in first for b in second if a != b)


def split(random: Random, nodes: Sequence[int]) -> tuple[Link, ...]:
    """Cut all links between two sides."""
    side = set(random.sample(nodes, random.randrange(len(nodes))))
    rest = [node for node in nodes if node not in side]
    return _between(sorted(side), rest) + _between(rest, sorted(side))


def one_way(random: Random, nodes: Sequence[int]) -> tuple[Link, ...]:
    """Cut all links from one node, or all links to it (F25)."""
    node = random.choice(nodes)
    return _between([node], nodes) if random.random() < 0.5 else _between(nodes, [node])


def isolate(random: Random, nodes: Sequence[int]) -> tuple[Link, ...]:
    """Cut all links from and to one node."""
    node = random.choice(nodes)
    return _between([node], nodes) + _between(nodes, [node])


def bridge(random: Random, nodes: Sequence[int]) -> tuple[Link, ...]:
    """Cut all links between two sides, but for one node that is linked to both (F26)."""
    order = random.sample(nodes, len(nodes))
    middle = len(order) // 2
    left, right = order[:middle], order[middle + 1 :]
    return _between(left, right) + _between(right, left)


def clog(random: Random, nodes: Sequence[int]) -> tuple[Link, ...]:
    """Cut a few directed links."""
    links = _between(nodes, nodes)
    return tuple(sorted(random.sample(links, min(len(links), random.randint(1, 6)))))


def swizzle(random: Random, plan: RunPlan) -> list[Cut]:
    """Isolate a subset of nodes one by one, and mend them in another order (F27)."""
    nodes = range(len(plan.weights) + len(plan.twins))
    chosen = random.sample(nodes, random.randint(1, len(nodes)))
    start_ms = random.randint(0, plan.heal_ms)
    ends = [random.randint(1_000, 4_000) for _ in chosen]
    cuts = []
    for position, node in enumerate(chosen):
        at_ms = min(plan.heal_ms, start_ms + position * 150)
        until_ms = min(plan.heal_ms, start_ms + ends[position])
        cuts.append(Cut(at_ms, until_ms, _between([node], nodes) + _between(nodes, [node])))
    return cuts


# --- the stored form ------------------------------------------------------------------------


def plan_to_json(plan: RunPlan) -> dict[str, Any]:
    """Return a plan as plain values, for a replay file."""
    return {"format": FORMAT, **asdict(plan)}


def plan_from_json(value: Mapping[str, Any]) -> RunPlan:
    """Return the plan in a replay file's value.

    Raises:
        ValueError: `value` is not a plan.
    """
    known = {item.name for item in fields(RunPlan)}
    if value.get("format") == _FORMAT_BEFORE:
        value = {"snapshot_blocks": 0, "rots": [], **value, "format": FORMAT}
    if value.get("format") != FORMAT or set(value) != known | {"format"}:
        raise ValueError(f"not a plan of the format {FORMAT}")
    sample = asdict(RunPlan(0, (1,), (0,), (), 0))
    for name in sorted(known):
        if type(value[name]) not in (type(sample[name]), list):
            raise ValueError(f"malformed plan: {name} is {value[name]!r}")
    try:
        given = {name: _freeze(value[name]) for name in known}
        return RunPlan(
            **{
                **given,
                "rates": Rates(**value["rates"]),
                "crashes": tuple(Crash(**item) for item in value["crashes"]),
                "rots": tuple(Rot(**item) for item in value["rots"]),
                "cuts": tuple(
                    Cut(**{**item, "links": _freeze(item["links"])}) for item in value["cuts"]
                ),
                "changes": tuple(
                    Change(item["at_ms"], tuple(item["members"])) for item in value["changes"]
                ),
            }
        )
    except (TypeError, KeyError) as error:
        raise ValueError(f"malformed plan: {error}") from error


def _freeze(value: Any) -> Any:
    return tuple(_freeze(item) for item in value) if isinstance(value, (list, tuple)) else value
