"""Connections of a generator to nodes: accounts that send in order, and readers that ask."""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import trio

from lowu.contracts.account import Account
from lowu.experiments.actors.light_client import render_calls
from lowu.experiments.load.offered.dialects import Dialect, Request
from lowu.experiments.load.offered.steps import ReadStep
from lowu.node.client import ClientError

BATCH_MAX = 100
"""Most transactions in one request."""
AGAIN_S = 0.05
"""Time before what was refused, or not answered, is sent again."""
ANSWER_S = 3.0
"""How long a node is waited for before the next one is asked."""
READERS = 8
"""Connections to each node for reads, each with one request at a time."""
LOST_S = 5.0
"""How long nothing of an account is committed before what nodes have accepted is sent again."""
SPREAD_S = 0.005
"""Time between two looks whether one more connection is needed."""
LOOSE_MAX = 64
"""Most connections of an account whose transactions need no order, each with one of them."""
FAULTS = (
    ClientError, ValueError, KeyError, TypeError, AttributeError, trio.TooSlowError,
)  # fmt: skip
"""What a node that does not answer, or answers something else, leads to."""


class Client(Protocol):
    """What a generator needs of a connection to a node; `LightClient` is one."""

    async def post(self, body: bytes) -> bytes:
        """Return the answer to a body; `ClientError` if there is none."""


Connect: TypeAlias = Callable[[str], AbstractAsyncContextManager[Client]]
"""Opens a connection to a URL."""


async def call(client: Client, request: Request) -> Any:
    """Return the result of a call; one of `FAULTS` if there is none in time."""
    method, params = request
    with trio.fail_after(ANSWER_S):
        answer = await client.post(render_calls(method, [params]))
    return json.loads(answer)["result"]


def render_call(row: int, request: Request) -> bytes:
    """Return the JSON of a call whose id is a row."""
    method, params = request
    told = json.dumps(params, separators=(",", ":")).encode()
    return b'{"jsonrpc":"2.0","id":%d,"method":"%s","params":%s}' % (row, method.encode(), told)


@dataclass(slots=True)
class Signed:
    """A transaction that is ready to be sent."""

    row: int
    tx_hash: str
    rendered: bytes
    """The call that sends it, as JSON."""
    is_committed: bool = False


@dataclass(slots=True)
class Lane:
    """An account, whose transactions go to one node in the order of their nonces.

    It behaves as an issuer's desk does: what a node refuses is sent again, where a node does not
    answer, the next one is asked, and what a node has accepted is kept until it is committed: one
    that crashes loses its pool.
    """

    account: Account
    urls: Sequence[str]
    """The node that it sends to, and those after it."""
    nonce: int
    refused: dict[int, str]
    """Rows whose last answer was a refusal, of all lanes, and what it said."""
    dialect: Dialect
    queue: deque[Signed] = field(default_factory=deque)
    """What is to be sent, in order."""
    accepted: dict[str, Signed] = field(default_factory=dict)
    """What a node has accepted, and is not known to be committed, in order; by hash."""
    filled: trio.Event = field(default_factory=trio.Event)
    _moved_s: float = 0.0
    """When something was committed last, or was sent again."""

    def put(self, item: Signed) -> None:
        """Have a transaction sent."""
        self.queue.append(item)
        self.filled.set()

    def note_committed(self, item: Signed) -> None:
        """Forget a transaction: it is committed, perhaps before its own answer came."""
        self._moved_s = trio.current_time()
        item.is_committed = True
        self.accepted.pop(item.tx_hash, None)

    def _accept(self, item: Signed) -> None:
        if not item.is_committed:
            if not self.accepted:
                self._moved_s = trio.current_time()
            self.accepted[item.tx_hash] = item

    def _send_again(self, count: int | None = None) -> None:
        """Put so many of what was accepted, or all of it, before what is to be sent."""
        chosen = list(itertools.islice(self.accepted.values(), count))
        for item in chosen:
            del self.accepted[item.tx_hash]
        self.queue.extendleft(reversed(chosen))
        self._moved_s = trio.current_time()
        self.filled.set()

    async def _find_lost(self) -> None:
        """Send some again, whenever nothing was committed for a while."""
        while True:
            await trio.sleep(LOST_S)
            if self.accepted and trio.current_time() - self._moved_s >= LOST_S:
                self._send_again(BATCH_MAX)

    async def run(self, connect: Connect) -> None:
        """Send what is put, for good."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._find_lost)
            send = self._send_in_order if self.dialect.is_ordered else self._send_loosely
            await send(connect)

    async def _send_in_order(self, connect: Connect) -> None:
        """Send what is in the queue, in order, to one node as long as it answers."""
        for url in itertools.cycle(self.urls):
            try:
                async with connect(url) as client:
                    while True:
                        await self._send_some(client)
            except (ClientError, ValueError, trio.TooSlowError):
                self._send_again()
                await trio.sleep(AGAIN_S)

    async def _send_some(self, client: Client) -> None:
        while not self.queue or self.queue[0].is_committed:
            if self.queue:
                self.queue.popleft()
                continue
            self.filled = trio.Event()
            await self.filled.wait()
        batch = list(itertools.islice(self.queue, BATCH_MAX))
        body = b"[%s]" % b",".join(item.rendered for item in batch)
        with trio.fail_after(ANSWER_S):
            answer = await client.post(body)
        refused = _read_refusals(answer, self.dialect) if b'"error"' in answer else {}
        for item in batch:
            self.refused.pop(item.row, None)
        self.refused.update(refused)
        for item in batch:
            if item.row in refused:
                await trio.sleep(AGAIN_S)  # it and all after it stay at the head of the queue
                return
            if not self.queue or self.queue[0] is not item:
                return  # something else was put before it meanwhile
            self._accept(self.queue.popleft())

    async def _send_loosely(self, connect: Connect) -> None:
        """Send each of the queue by a connection that has nothing else to do."""
        idle = 0

        async def send_all() -> None:
            nonlocal idle
            for url in itertools.cycle(self.urls):
                try:
                    async with connect(url) as client:
                        while True:
                            idle += 1
                            try:
                                while not self.queue:
                                    await self.filled.wait()
                            finally:
                                idle -= 1
                            await self._send_one(client)
                except (ClientError, ValueError, trio.TooSlowError):
                    self._send_again()
                    await trio.sleep(AGAIN_S)

        async with trio.open_nursery() as nursery:
            connections = 0
            while True:
                while not self.queue:
                    self.filled = trio.Event()
                    await self.filled.wait()
                if len(self.queue) > idle and connections < LOOSE_MAX:
                    connections += 1
                    nursery.start_soon(send_all)
                await trio.sleep(SPREAD_S)

    async def _send_one(self, client: Client) -> None:
        item = self.queue.popleft()
        try:
            with trio.fail_after(ANSWER_S):
                answer = await client.post(item.rendered)
        except BaseException:
            self.queue.append(item)
            raise
        refused = _read_refusals(answer, self.dialect) if b'"error"' in answer else {}
        self.refused.pop(item.row, None)
        if refused:
            self.refused.update(refused)
            await trio.sleep(AGAIN_S)
            self.queue.append(item)
        else:
            self._accept(item)


def _read_refusals(answer: bytes, dialect: Dialect) -> dict[int, str]:
    """Return the refusals in a batch's answer by the rows that their ids are.

    What a node knows already was brought by an earlier request, so it is none.
    """
    found = {}
    value = json.loads(answer)
    for item in value if isinstance(value, list) else [value]:
        if "error" in item:
            text = _read_reason(item["error"])
            if item.get("id") is None:
                raise ClientError(f"a request was refused: {text}")
            if not dialect.is_known(item["error"]):
                found[int(item["id"])] = text
    return found


def _read_reason(error: dict[str, object]) -> str:
    return str(error.get("message", error))


class Readers:
    """Ask nodes, several requests to each at a time, until the answers are right."""

    def __init__(
        self,
        urls: Iterable[str],
        is_over: Callable[[int], bool],
        answered: Callable[[int], None],
        failed: set[int],
        refused: dict[int, str],
    ) -> None:
        """Begin with nothing to ask.

        `is_over` says whether a row has its end already; `answered` is told of those whose answers
        are right; rows of wrong answers are in `failed`, refused ones in `refused`.
        """
        self._is_over = is_over
        self._answered = answered
        self._failed = failed
        self._refused = refused
        self._ways = {url: trio.open_memory_channel[tuple[int, ReadStep]](2**20) for url in urls}

    def put(self, url: str, row: int, ask: ReadStep) -> None:
        """Have a node asked."""
        self._ways[url][0].send_nowait((row, ask))

    async def run(self, connect: Connect) -> None:
        """Ask whatever is put, for good."""
        async with trio.open_nursery() as nursery:
            for url in self._ways:
                for _ in range(READERS):
                    nursery.start_soon(self._ask_all, url, connect)

    async def _ask_all(self, url: str, connect: Connect) -> None:
        urls = list(self._ways)
        first = urls.index(url)
        row, ask = await self._ways[url][1].receive()
        for place in itertools.cycle([*urls[first:], *urls[:first]]):
            try:
                async with connect(place) as client:
                    while True:
                        if self._is_over(row) or await self._is_answered(client, row, ask):
                            row, ask = await self._ways[url][1].receive()
                        else:
                            await trio.sleep(AGAIN_S)
            except FAULTS:
                await trio.sleep(AGAIN_S)

    async def _is_answered(self, client: Client, row: int, ask: ReadStep) -> bool:
        params = [
            ({"to": "0x" + to.hex(), "data": "0x" + data.hex()}, "latest") for to, data in ask.calls
        ]
        with trio.fail_after(ANSWER_S):
            answer = json.loads(await client.post(render_calls("eth_call", params)))
        items = answer if isinstance(answer, list) else [answer]
        errors = [item["error"] for item in items if "error" in item]
        if errors:
            self._refused[row] = _read_reason(errors[0])
            return False
        self._refused.pop(row, None)
        outputs = {item["id"]: bytes.fromhex(item["result"][2:]) for item in items}
        if not ask.is_right([outputs[number] for number in range(len(params))]):
            self._failed.add(row)
            return False
        self._failed.discard(row)
        self._answered(row)
        return True
