"""Offers work by a schedule, whether or not the system keeps up, and notes how each piece ends.

Each account sends in the order of its nonces, as many transactions in a request as are due. Ends
are read from the blocks of two nodes. What has several steps goes on once a step is committed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import trio

from lowu.contracts.account import Account
from lowu.experiments.actors.light_client import LightClient
from lowu.experiments.load.offered.block_watch import BlockWatch, SeenBlock
from lowu.experiments.load.offered.dialects import Dialect, EthDialect
from lowu.experiments.load.offered.endpoints import Connect, Lane, Readers, Signed, render_call
from lowu.experiments.load.offered.mix import Mix
from lowu.experiments.load.offered.steps import ReadStep, Sender, SendStep, Step
from lowu.experiments.load.outcomes import Ending, Records

WATCHED_S = 10.0
"""How long an answer of any node is waited for before the load."""
SWEEP_S = 0.1
ROUNDING_S = 1e-6
"""What is due so soon is due: a wait in virtual time may end a rounding error early."""
RECEIPTS_S = 120.0
"""How long receipts are read at the end, to find what was reverted."""


@dataclass(frozen=True, slots=True)
class GeneratorPlan:
    """What one generator offers, and where."""

    urls: tuple[str, ...]
    """The nodes' URLs."""
    senders: tuple[Sender, ...]
    chain_id: int
    due_s: tuple[float, ...]
    """When each piece of work is due, in order; empty for a closed loop."""
    deadline_s: float
    shares: Mapping[str, float] = field(default_factory=lambda: {"register": 1.0})
    """Of each kind of work."""
    addresses: Mapping[str, bytes] = field(default_factory=dict)
    """Of the workloads' contracts, by artifact."""
    seed: int = 0
    """Draws the work."""
    clients: int = 0
    """In a closed loop: how many clients wait for each other's answers."""
    closed_s: float = 0.0
    """In a closed loop: how long it goes on."""
    dialect: Dialect | None = None
    """How the system is spoken to; Ethereum's, with gas for nothing, if none is given."""
    is_signed_ahead: bool = True
    """Whether all that can be signed in advance is."""
    share: tuple[int, int] = (0, 1)
    """Which of how many generators it is; they take turns."""


@dataclass(frozen=True, slots=True)
class GeneratorStatus:
    """How a run stands: counts so far, for a live view."""

    at_s: float
    due: int
    done: int
    """Committed or answered."""
    ended: int
    height: int
    lag_ms_max: float
    recent_ms: tuple[float, ...] = ()
    """Latencies of what has ended since the status before."""


@dataclass(slots=True)
class Generated:
    """The result of a generator."""

    records: Records
    blocks: list[SeenBlock]
    cpu_s: float = 0.0
    """CPU time of the generator's process during the load."""
    unread: int = 0
    """How many committed transactions have no receipt that could be read: any may have failed."""
    refusal: str = ""
    """What a node said when it refused one last; "" if none was refused to the end."""


class Generator:
    """One run of one plan."""

    def __init__(
        self,
        plan: GeneratorPlan,
        *,
        drawn_from: int = 0,
        clock: Callable[[], float] = time.monotonic,
        connect: Connect = LightClient,
    ) -> None:
        """Sign in advance what can be.

        `drawn_from` makes what runs send differ; `clock` and `connect` are others in virtual time.
        """
        self.plan = plan
        self._clock = clock
        self._connect = connect
        self._dialect = plan.dialect or EthDialect(plan.chain_id)
        self._mix = Mix(plan.shares, plan.seed)
        self.records = Records(names=self._mix.names)
        self._first = drawn_from << 64
        self._issuers = [place for place, item in enumerate(plan.senders) if item.is_issuer]
        self._refused: dict[int, str] = {}
        self._wrong: set[int] = set()
        """Rows whose last answer, to a read, was not right."""
        self._lanes = [
            Lane(
                Account(item.key),
                _order_urls(item, place, plan.urls),
                item.nonce,
                self._refused,
                self._dialect,
            )
            for place, item in enumerate(plan.senders)
        ]
        self._readers = Readers(plan.urls, self._has_ended, self._go_on, self._wrong, self._refused)
        self._watch = BlockWatch(
            plan.urls, connect, lambda: self.now_s, self._note_block, self._dialect
        )
        self._sent: dict[str, tuple[Signed, int]] = {}
        """By the hash of a transaction that is not committed: itself and its lane."""
        self._left: dict[int, list[Step]] = {}
        """By row: the steps after the present one, the next one last."""
        self._committed: dict[int, dict[str, int]] = {}
        """By height: the rows of own transactions, by hash."""
        self._ended: dict[int, trio.Event] = {}
        self._swept = 0
        self._begin_s = math.inf
        self._is_over = False
        """Whether nothing more is offered."""
        self._all_ended = trio.Event()
        self._scope = trio.CancelScope()
        self._lag_s = 0.0
        self._counts = dict.fromkeys(Ending, 0)
        self._recent_ms: list[float] = []
        self._ready: list[tuple[int, int, Signed]] = []
        """What is signed in advance, row by row: its kind, its lane, and itself."""
        if plan.is_signed_ahead and self._mix.is_single and self._dialect.is_ordered:
            self._ready = [self._sign_ahead(row) for row in range(len(plan.due_s))]

    # --- work -------------------------------------------------------------------------------

    def _draw(self, row: int) -> tuple[int, tuple[Step, ...]]:
        """Return the kind and the steps of a row."""
        place, of = self.plan.share
        return self._mix.draw(
            self._first + row * of + place,
            self._issuers[row % len(self._issuers)],
            self.plan.senders,
            self.plan.chain_id,
            self.plan.addresses,
        )

    def _sign_ahead(self, row: int) -> tuple[int, int, Signed]:
        kind, (step,) = self._draw(row)
        if not isinstance(step, SendStep):
            raise TypeError(f"{self._mix.names[kind]} is not a transaction")
        return kind, step.sender, self._sign(row, step)

    def _sign(self, row: int, step: SendStep) -> Signed:
        """Return a row's transaction, signed."""
        lane = self._lanes[step.sender]
        raw, tx_hash = self._dialect.sign(lane.account, step.call, lane.nonce, self._watch.highest)
        lane.nonce += 1
        signed = Signed(row, tx_hash, render_call(row, self._dialect.send(raw)))
        self._sent[tx_hash] = signed, step.sender
        return signed

    def _begin(self, due_s: float, now_s: float) -> int:
        """Begin the next piece of work; return its row."""
        row = len(self.records)
        if self._ready:
            kind, lane, signed = self._ready[row]
            self.records.add(due_s, kind)
            self._lanes[lane].put(signed)
        else:
            kind, steps = self._draw(row)
            self.records.add(due_s, kind)
            self._left[row] = list(reversed(steps))
            self._go_on(row)
        self.records.sent_s[row] = max(now_s, due_s)
        return row

    def _go_on(self, row: int, at_s: float | None = None, height: int = 0) -> None:
        """Begin the next step of a row, or end it if there is none."""
        left = self._left.get(row)
        if self._has_ended(row):
            self._left.pop(row, None)
        elif not left:
            self._left.pop(row, None)
            ending = Ending.COMMITTED if height else Ending.ANSWERED
            self._end(row, ending, self.now_s if at_s is None else at_s, height)
        else:
            step = left.pop()
            if isinstance(step, ReadStep):
                lane = self._lanes[step.sender]
                self._readers.put(lane.urls[0], row, step)
            else:
                self._lanes[step.sender].put(self._sign(row, step))

    def _has_ended(self, row: int) -> bool:
        return self.records.outcome[row] != Ending.WAITING

    def _end(self, row: int, outcome: Ending, at_s: float, height: int = 0) -> None:
        if self._has_ended(row):
            return
        self.records.end(row, outcome, at_s, height)
        self._counts[outcome] += 1
        self._recent_ms.append((at_s - self.records.due_s[row]) * 1_000)
        event = self._ended.pop(row, None)
        if event is not None:
            event.set()

    @property
    def now_s(self) -> float:
        """Seconds since the begin of the load."""
        return self._clock() - self._begin_s

    def take_status(self) -> GeneratorStatus:
        """Return how the run stands, and what has ended since the last call."""
        ended = sum(self._counts.values())
        done = self._counts[Ending.COMMITTED] + self._counts[Ending.ANSWERED]
        height = max(self._watch.blocks, default=0)
        recent, self._recent_ms = tuple(self._recent_ms), []
        return GeneratorStatus(
            self.now_s, len(self.records), done, ended, height, self._lag_s * 1_000, recent
        )

    # --- running ----------------------------------------------------------------------------

    async def run(
        self, begin_s: float, tell: Callable[[GeneratorStatus], None] = lambda status: None
    ) -> Generated:
        """Offer everything from `begin_s` on, a time of the clock; return all ends.

        It returns once everything is at its end, the deadline of the last one at the latest.
        """
        self._begin_s = begin_s
        with self._scope:
            await self._offer_and_watch(tell)
        with trio.move_on_after(RECEIPTS_S):
            failed = await self._watch.find_failed(self._committed)
            for rows in self._committed.values():
                for tx_hash in failed & rows.keys():
                    self.records.outcome[rows[tx_hash]] = Ending.FAILED
        return self.found

    @property
    def found(self) -> Generated:
        """What there is so far."""
        blocks = self._watch.blocks
        seen = [blocks[height] for height in sorted(blocks)]
        ends = self.records.outcome
        refusals = [text for row, text in self._refused.items() if ends[row] == Ending.REFUSED]
        refusal = refusals[-1] if refusals else ""
        return Generated(self.records, seen, unread=self._watch.unread, refusal=refusal)

    async def _offer_and_watch(self, tell: Callable[[GeneratorStatus], None]) -> None:
        async with trio.open_nursery() as nursery:
            for lane in self._lanes:
                nursery.start_soon(lane.run, self._connect)
            if not self._mix.is_single:
                nursery.start_soon(self._readers.run, self._connect)
            nursery.start_soon(self._watch.run)
            nursery.start_soon(self._sweep, tell)
            with trio.move_on_after(WATCHED_S):  # else the first blocks might be missed
                await self._watch.is_ready.wait()
            await trio.sleep(max(0.0, self._begin_s - self._clock()))
            if self.plan.clients:
                await self._offer_closed()
            else:
                await self._offer_open()
            self._is_over = True
            await self._all_ended.wait()
            nursery.cancel_scope.cancel()

    def stop(self) -> None:
        """Offer nothing more, and wait for nothing: what has no end yet is left without one."""
        self._is_over = True
        self._scope.cancel()

    async def _offer_open(self) -> None:
        due = self.plan.due_s
        number = 0
        while number < len(due):
            now = self.now_s
            if due[number] > now:
                await trio.sleep(due[number] - now)
                now = self.now_s
            while number < len(due) and due[number] <= now + ROUNDING_S:
                self._begin(due[number], now)
                self._lag_s = max(self._lag_s, now - due[number])
                number += 1
                if not self._ready:  # drawing and signing take their time
                    now = self.now_s
            await trio.lowlevel.checkpoint()

    async def _offer_closed(self) -> None:
        async def go_on() -> None:
            while (now := self.now_s) < self.plan.closed_s:
                row = self._begin(now, now)
                event = self._ended[row] = trio.Event()
                await event.wait()

        async with trio.open_nursery() as nursery:
            for _ in range(self.plan.clients):
                nursery.start_soon(go_on)

    # --- ends -------------------------------------------------------------------------------

    def _note_block(self, block: SeenBlock, hashes: list[str]) -> None:
        for item in hashes:
            if item not in self._sent:
                continue
            signed, lane = self._sent.pop(item)
            self._committed.setdefault(block.height, {})[item] = signed.row
            self._lanes[lane].note_committed(signed)
            self._go_on(signed.row, block.at_s, block.height)

    async def _sweep(self, tell: Callable[[GeneratorStatus], None]) -> None:
        """End what is beyond its deadline."""
        told_s = 0.0
        while True:
            now = self.now_s
            records, deadline = self.records, self.plan.deadline_s
            while self._swept < len(records):
                row = self._swept
                if not self._has_ended(row):
                    if records.due_s[row] + deadline > now:
                        break
                    self._end(row, self._judge(row), records.due_s[row] + deadline)
                self._swept += 1
            if self._is_over and self._swept == len(records):
                self._all_ended.set()
            if now - told_s >= 1.0:
                told_s = now
                tell(self.take_status())
            await trio.sleep(SWEEP_S)

    def _judge(self, row: int) -> Ending:
        """Return the end of a row whose deadline has come."""
        if row in self._wrong:
            return Ending.FAILED
        return Ending.REFUSED if row in self._refused else Ending.TIMED_OUT


def _order_urls(sender: Sender, place: int, urls: Sequence[str]) -> list[str]:
    """Return the nodes of an account: its own first, or another one for each."""
    first = urls.index(sender.url) if sender.url in urls else place % len(urls)
    return [*urls[first:], *urls[:first]]


# --- several generators -------------------------------------------------------------------------


def split_plan(plan: GeneratorPlan, count: int) -> list[GeneratorPlan]:
    """Return the plans of several generators, which take turns; each has accounts of its own.

    Raises:
        ValueError: there are too few accounts.
    """
    issuers = [item for item in plan.senders if item.is_issuer]
    others = [item for item in plan.senders if not item.is_issuer]
    if count > len(issuers):
        raise ValueError(f"{count} generators need as many accounts that send, not {len(issuers)}")
    found = []
    for place in range(count):
        senders = (*issuers[place::count], *others[place::count])
        Mix(plan.shares, plan.seed).check(senders)
        found.append(
            replace(
                plan,
                senders=senders,
                due_s=plan.due_s[place::count],
                clients=len(range(place, plan.clients, count)),
                share=(place, count),
            )
        )
    return found


def add_statuses(parts: Sequence[GeneratorStatus]) -> GeneratorStatus:
    """Return the status of several generators as one."""
    return GeneratorStatus(
        max(part.at_s for part in parts),
        sum(part.due for part in parts),
        sum(part.done for part in parts),
        sum(part.ended for part in parts),
        max(part.height for part in parts),
        max(part.lag_ms_max for part in parts),
        tuple(item for part in parts for item in part.recent_ms),
    )


def merge_generated(parts: Sequence[Generated]) -> Generated:
    """Return the results of several generators as one: rows by due time, each block once."""
    if len(parts) == 1:
        return parts[0]
    records = Records(names=parts[0].records.names)
    order = sorted(
        (part.records.due_s[row], number, row)
        for number, part in enumerate(parts)
        for row in range(len(part.records))
    )
    for _, number, row in order:
        records.copy(parts[number].records, row)
    blocks: dict[int, SeenBlock] = {}
    for part in parts:
        for block in part.blocks:
            known = blocks.get(block.height)
            if known is None or block.at_s < known.at_s:
                blocks[block.height] = block
    seen = [blocks[height] for height in sorted(blocks)]
    cpu_s = math.fsum(part.cpu_s for part in parts)
    refusal = next((part.refusal for part in parts if part.refusal), "")
    return Generated(records, seen, cpu_s, sum(part.unread for part in parts), refusal)
