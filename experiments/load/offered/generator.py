"""Offers transactions by a schedule, whether or not the system keeps up, and notes their ends.

Each account is a lane: its transactions go to one node in the order of their nonces, as many in a
request as are due. Lanes behave as issuers' desks do: what a node refuses is sent again, and where
a node does not answer, the next one is asked. Ends are read from the blocks of two nodes, which are
polled every `POLL_S`: a block counts as committed when the first of them has it.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import trio

from lowu.contracts.account import Account
from lowu.experiments.actors.light_client import LightClient, render_calls
from lowu.experiments.load.offered.workloads import Mix
from lowu.experiments.load.outcomes import Ending, Records
from lowu.node.client import ClientError

BATCH_MAX = 100
"""Most transactions in one request."""
POLL_S = 0.02
WATCHERS = 2
AGAIN_S = 0.05
"""Time before what was refused, or not answered, is sent again."""
ANSWER_S = 3.0
"""How long a node is waited for before the next one is asked."""
WATCHED_S = 10.0
"""How long an answer of any node is waited for before the load."""
SWEEP_S = 0.1
ROUNDING_S = 1e-6
"""What is due so soon is due: a wait in virtual time may end a rounding error early."""
RECEIPTS_S = 120.0
"""How long receipts are read at the end, to find what was reverted."""
KNOWN = ("already known", "nonce too low")
"""Refusals of what an earlier request, whose answer was lost, has brought."""


@dataclass(frozen=True, slots=True)
class GeneratorPlan:
    """What one generator offers, and where."""

    urls: tuple[str, ...]
    """The nodes' URLs; each lane begins with another one."""
    senders: tuple[tuple[bytes, int], ...]
    """The private keys of the accounts that send, each with the number of its schema."""
    chain_id: int
    due_s: tuple[float, ...]
    """When each transaction is due, in order; empty for a closed loop."""
    deadline_s: float
    shares: Mapping[str, float] = field(default_factory=lambda: {"register": 1.0})
    """Of each workload."""
    addresses: Mapping[str, bytes] = field(default_factory=dict)
    """Of the workloads' contracts, by artifact."""
    seed: int = 0
    """Draws the workloads."""
    clients: int = 0
    """In a closed loop: how many clients wait for each other's answers."""
    closed_s: float = 0.0
    """In a closed loop: how long it goes on."""
    price: int = 0
    """Of gas, in wei."""


class Client(Protocol):
    """What a generator needs of a connection to a node; `LightClient` is one."""

    async def post(self, body: bytes) -> bytes:
        """Return the answer to a body; `ClientError` if there is none."""


Connection: TypeAlias = AbstractAsyncContextManager[Client]


@dataclass(slots=True)
class GeneratorStatus:
    """How a run stands: counts so far, for a live view."""

    at_s: float
    due: int
    committed: int
    ended: int
    height: int
    lag_ms_max: float


@dataclass(frozen=True, slots=True)
class SeenBlock:
    """A block that a watcher saw."""

    height: int
    at_s: float
    """When it was seen, in seconds from the begin of the load."""
    transactions: int
    """All of it, those of others included."""


@dataclass(slots=True)
class Generated:
    """The result of a generator."""

    records: Records
    blocks: list[SeenBlock]
    cpu_s: float = 0.0
    """CPU time of the generator's process during the load."""


@dataclass(slots=True)
class _Lane:
    account: Account
    schema: int
    urls: list[str]
    nonce: int = 0
    queue: deque[tuple[int, bytes]] = field(default_factory=deque)
    """Rows and their calls, rendered, that are to be sent."""
    filled: trio.Event = field(default_factory=trio.Event)

    def put(self, row: int, call: bytes) -> None:
        self.queue.append((row, call))
        self.filled.set()


class Generator:
    """One run of one plan."""

    def __init__(
        self,
        plan: GeneratorPlan,
        *,
        drawn_from: int = 0,
        clock: Callable[[], float] = time.monotonic,
        connect: Callable[[str], Connection] = LightClient,
    ) -> None:
        """Sign all that is due in advance.

        `drawn_from` makes what generators send differ; `clock` and `connect` are others in
        virtual time.
        """
        self.plan = plan
        self._clock = clock
        self._connect = connect
        self.records = Records()
        self.blocks: dict[int, SeenBlock] = {}
        self._first = drawn_from << 64
        self._mix = Mix(plan.shares, plan.seed)
        self._lanes = [
            _Lane(Account(key), schema, [*plan.urls[number % len(plan.urls) :], *plan.urls])
            for number, (key, schema) in enumerate(plan.senders)
        ]
        self._rows: dict[str, int] = {}
        """By transaction hash: the row."""
        self._refused: set[int] = set()
        self._swept = 0
        self._ended: dict[int, trio.Event] = {}
        self._begin_s = math.inf
        self._is_over = False
        """Whether nothing more is offered."""
        self._all_ended = trio.Event()
        self._is_watched = trio.Event()
        self._height: int | None = None
        """That of the chain before the load."""
        self._scope = trio.CancelScope()
        self._lag_s = 0.0
        self._counts = dict.fromkeys(Ending, 0)
        self._ready = [self._sign(number) for number in range(len(plan.due_s))]

    # --- transactions -----------------------------------------------------------------------

    def _sign(self, number: int) -> bytes:
        """Return the rendered call of the next transaction, which is row `number`."""
        lane = self._lanes[number % len(self._lanes)]
        _, call = self._mix.build(self._first + number, lane.schema, self.plan.addresses)
        raw, digest = lane.account.sign_transaction(
            to=call.to,
            data=call.data,
            gas=call.gas,
            nonce=lane.nonce,
            chain_id=self.plan.chain_id,
            price=self.plan.price,
        )
        lane.nonce += 1
        self._rows["0x" + digest.hex()] = number
        return b'{"jsonrpc":"2.0","id":%d,"method":"eth_sendRawTransaction","params":["0x%s"]}' % (
            number,
            raw.hex().encode(),
        )

    def _end(self, row: int, outcome: Ending, at_s: float, height: int = 0) -> None:
        if self.records.outcome[row] != Ending.WAITING:
            return
        self.records.end(row, outcome, at_s, height)
        self._counts[outcome] += 1
        event = self._ended.pop(row, None)
        if event is not None:
            event.set()

    @property
    def now_s(self) -> float:
        """Seconds since the begin of the load."""
        return self._clock() - self._begin_s

    @property
    def status(self) -> GeneratorStatus:
        """How the run stands."""
        ended = sum(self._counts.values())
        committed = self._counts[Ending.COMMITTED]
        height = max(self.blocks, default=0)
        return GeneratorStatus(
            self.now_s, len(self.records), committed, ended, height, self._lag_s * 1_000
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
            await self._find_failed()
        return self.found

    @property
    def found(self) -> Generated:
        """What there is so far."""
        return Generated(self.records, [self.blocks[height] for height in sorted(self.blocks)])

    async def _offer_and_watch(self, tell: Callable[[GeneratorStatus], None]) -> None:
        async with trio.open_nursery() as nursery:
            for lane in self._lanes:
                nursery.start_soon(self._send, lane)
            for number in range(min(WATCHERS, len(self.plan.urls))):
                nursery.start_soon(self._watch, number)
            nursery.start_soon(self._sweep, tell)
            with trio.move_on_after(WATCHED_S):  # else the first blocks might be missed
                await self._is_watched.wait()
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
        due, lanes, records = self.plan.due_s, self._lanes, self.records
        number = 0
        while number < len(due):
            now = self.now_s
            if due[number] > now:
                await trio.sleep(due[number] - now)
                now = self.now_s
            while number < len(due) and due[number] <= now + ROUNDING_S:
                row = records.add(due[number])
                records.sent_s[row] = max(now, due[number])
                lanes[row % len(lanes)].put(row, self._ready[row])
                self._lag_s = max(self._lag_s, now - due[number])
                number += 1
            await trio.lowlevel.checkpoint()

    async def _offer_closed(self) -> None:
        async def go_on() -> None:
            while self.now_s < self.plan.closed_s:
                now = self.now_s
                row = self.records.add(now)
                self.records.sent_s[row] = now
                event = self._ended[row] = trio.Event()
                self._lanes[row % len(self._lanes)].put(row, self._sign(row))
                await event.wait()

        async with trio.open_nursery() as nursery:
            for _ in range(self.plan.clients):
                nursery.start_soon(go_on)

    # --- sending ----------------------------------------------------------------------------

    async def _send(self, lane: _Lane) -> None:
        """Send what is in a lane, in order, to one node as long as it answers."""
        for url in itertools.cycle(lane.urls):
            try:
                async with self._connect(url) as client:
                    while True:
                        await self._send_some(lane, client)
            except (ClientError, ValueError, trio.TooSlowError):
                await trio.sleep(AGAIN_S)

    async def _send_some(self, lane: _Lane, client: Client) -> None:
        while not lane.queue:
            lane.filled = trio.Event()
            await lane.filled.wait()
        batch = list(itertools.islice(lane.queue, BATCH_MAX))
        body = b"[%s]" % b",".join(call for _, call in batch)
        with trio.fail_after(ANSWER_S):
            answer = await client.post(body)
        refused = _read_refusals(answer) if b'"error"' in answer else {}
        self._refused.difference_update(row for row, _ in batch)
        self._refused.update(refused)
        for row, _ in batch:
            if row in refused:
                await trio.sleep(AGAIN_S)  # it and all after it stay at the head of the queue
                return
            lane.queue.popleft()

    # --- ends -------------------------------------------------------------------------------

    async def _watch(self, first: int) -> None:
        """Note the blocks that nodes have, beginning with the `first` of them."""
        urls = self.plan.urls
        for url in itertools.cycle([*urls[first:], *urls[:first]]):
            try:
                async with self._connect(url) as client:
                    height = int(str(await self._call(client, "eth_blockNumber")), 16)
                    if self._height is None:
                        self._height = height
                        self._is_watched.set()
                    seen = max(self.blocks, default=self._height)
                    while True:
                        if height > seen:
                            at_s = self.now_s
                            for number in range(seen + 1, height + 1):
                                await self._note_block(client, number, at_s)
                            seen = height
                        await trio.sleep(POLL_S)
                        height = int(str(await self._call(client, "eth_blockNumber")), 16)
            except (ClientError, ValueError, KeyError, TypeError, trio.TooSlowError):
                await trio.sleep(AGAIN_S)

    async def _note_block(self, client: Client, number: int, at_s: float) -> None:
        if number in self.blocks:
            return
        block = await self._call(client, "eth_getBlockByNumber", hex(number), False)
        hashes = block["transactions"]
        if number in self.blocks:  # the other watcher was faster
            return
        self.blocks[number] = SeenBlock(number, at_s, len(hashes))
        for item in hashes:
            row = self._rows.get(item)
            if row is not None and row < len(self.records):
                self._end(row, Ending.COMMITTED, at_s, number)

    async def _call(self, client: Client, method: str, *params: object) -> Any:
        with trio.fail_after(ANSWER_S):
            answer = await client.post(render_calls(method, [params]))
        return json.loads(answer)["result"]

    async def _sweep(self, tell: Callable[[GeneratorStatus], None]) -> None:
        """End what is beyond its deadline."""
        told_s = 0.0
        while True:
            now = self.now_s
            records, deadline = self.records, self.plan.deadline_s
            while self._swept < len(records):
                row = self._swept
                if records.outcome[row] == Ending.WAITING:
                    if records.due_s[row] + deadline > now:
                        break
                    outcome = Ending.REFUSED if row in self._refused else Ending.TIMED_OUT
                    self._end(row, outcome, records.due_s[row] + deadline)
                self._swept += 1
            if self._is_over and self._swept == len(records):
                self._all_ended.set()
            if now - told_s >= 1.0:
                told_s = now
                tell(self.status)
            await trio.sleep(SWEEP_S)

    async def _find_failed(self) -> None:
        """Find out which of the committed ones were reverted, from the receipts."""
        heights = sorted({height for height in self.records.height if height})
        for url in self.plan.urls:
            try:
                async with self._connect(url) as client:
                    while heights:
                        self._note_receipts(await self._receipts(client, heights[-1]))
                        heights.pop()
                return
            except (ClientError, ValueError, KeyError, TypeError, trio.TooSlowError):
                continue

    async def _receipts(self, client: Client, height: int) -> list[dict[str, Any]]:
        """Return the receipts of a block; one by one where the method for all is unknown."""
        try:
            return list(await self._call(client, "eth_getBlockReceipts", hex(height)))
        except KeyError:
            own = [item for item, row in self._rows.items() if self._height_of(row) == height]
            return [await self._call(client, "eth_getTransactionReceipt", item) for item in own]

    def _height_of(self, row: int) -> int:
        return self.records.height[row] if row < len(self.records) else 0

    def _note_receipts(self, receipts: list[dict[str, Any]]) -> None:
        for receipt in receipts:
            row = self._rows.get(receipt["transactionHash"])
            if row is not None and receipt["status"] != "0x1":
                self.records.outcome[row] = Ending.FAILED


def _read_refusals(answer: bytes) -> dict[int, str]:
    """Return the refusals in a batch's answer by the rows that their ids are.

    What a node knows already was brought by an earlier request, so it is none.
    """
    found = {}
    value = json.loads(answer)
    for item in value if isinstance(value, list) else [value]:
        if "error" in item:
            text = str(item["error"].get("message", item["error"]))
            if item.get("id") is None:
                raise ClientError(f"a request was refused: {text}")
            if not text.startswith(KNOWN):
                found[int(item["id"])] = text
    return found


def split_due(due_s: Sequence[float], generators: int) -> list[tuple[float, ...]]:
    """Return the times of each of several generators, which take turns."""
    return [tuple(due_s[number::generators]) for number in range(generators)]
