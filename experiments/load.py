"""Load: signed registrations, offered to nodes as fast as they take them or at a given rate.

What is offered is the same for every system under test: the bytes of transactions, through
eth_sendRawTransaction over HTTP. A registration counts once every watched node has committed it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import trio

from contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    SCHEMA_IDS,
    Suite,
    encode_register_anchor,
)
from experiments.light_client import LightClient, render_calls
from node.client import ClientError, RemoteError, RpcClient

REGISTRATION_GAS = 250_000
CONNECTIONS = 8
"""Of each issuer, each with one request at a time."""
IN_FLIGHT_MAX = 4_000
POLL_S = 0.05
"""Asking costs a node a little; being late costs the result a little."""
STALLED_S = 30.0
SYNC_MS = 20_000
"""How long a node is asked to wait for a registration to be committed."""
SCHEMA = "grp.kyc/1"


class LoadError(ClientError):
    """The load could not be offered or was not committed; the text says what happened."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """An account with its signed registrations, in the order of their nonces."""

    address: str
    first_nonce: int
    raws: tuple[str, ...]
    """Transactions, 0x…."""


@dataclass(frozen=True, slots=True)
class Offered:
    """What became of a load."""

    count: int
    send_s: float
    """Until the last one was taken by a node."""
    commit_s: float
    """Until the last one was committed on all nodes watched."""


@dataclass(slots=True)
class Timed:
    """Registrations sent one by one: how long each took, and what failed."""

    latencies_ms: list[float] = field(default_factory=list)
    """From the moment that each was due to its receipt."""
    failures: list[str] = field(default_factory=list)


def build_network(nodes: int, **settings: int) -> str:
    """Return a network file of unnamed banks, evenly split over the boundary, each a validator.

    `settings` are entries of its section ``[network]``.
    """
    lines = [
        "# Unnamed banks, evenly split over the boundary: a network for load.",
        "",
        "[network]",
        f'name = "load-{nodes}"',
        f"seed = {nodes}",
        *(f"{name} = {value}" for name, value in settings.items()),
    ]
    for number in range(1, nodes + 1):
        side, which = (("SZ", "深圳"), ("HK", "香港"))[(number - 1) % 2]
        lines += [
            "",
            "[[institution]]",
            f'id = "bank-{number}"',
            f'side = "{side}"',
            'roles = ["ADMIN", "ISSUER", "VERIFIER"]',
            f'schemas = ["{SCHEMA}"]',
            f'name = "Bank {number}"',
            f'name_zh = "{which}银行{number}"',
        ]
    for number in range(1, nodes + 1):
        lines += ["", "[[node]]", f'institution = "bank-{number}"']
    return "\n".join(lines) + "\n"


def sign_registrations(key: bytes, chain_id: int, count: int, first_nonce: int = 0) -> Issuer:
    """Return `count` registrations of different anchors, signed by one account."""
    from eth_account import Account  # noqa: PLC0415  (0.6 s of imports: only when needed)

    account = Account.from_key(key)
    raws = []
    for nonce in range(first_nonce, first_nonce + count):
        data = encode_register_anchor(
            (nonce + 1).to_bytes(32, "big"),
            schema=SCHEMA_IDS[SCHEMA],
            key_id=1,
            valid_until_day=0,
            suite=Suite.SHA256_P256,
        )
        signed = account.sign_transaction(
            {
                "to": HASH_REGISTRY_ADDRESS,
                "data": data,
                "value": 0,
                "gas": REGISTRATION_GAS,
                "gasPrice": 0,
                "nonce": nonce,
                "chainId": chain_id,
            }
        )
        raws.append("0x" + bytes(signed.raw_transaction).hex())
    return Issuer(account.address, first_nonce, tuple(raws))


# --- as fast as it is taken -------------------------------------------------------------------


class _Progress:
    """How far every watched node has come with every issuer."""

    def __init__(self, issuers: Sequence[Issuer], urls: Sequence[str]) -> None:
        self.issuers = issuers
        self.wanted = {issuer.address: len(issuer.raws) for issuer in issuers}
        self._committed = {url: dict.fromkeys(self.wanted, 0) for url in urls}
        self._changed = trio.Event()

    def committed(self, address: str) -> int:
        """Return how many registrations of an issuer are on all nodes."""
        return min(counts[address] for counts in self._committed.values())

    @property
    def is_done(self) -> bool:
        """Whether everything is on all nodes."""
        return all(self.committed(item) >= count for item, count in self.wanted.items())

    def note(self, url: str, nonces: Sequence[int]) -> None:
        """A node tells the next nonce of each issuer."""
        pairs = zip(self.issuers, nonces, strict=True)
        found = {issuer.address: nonce - issuer.first_nonce for issuer, nonce in pairs}
        if found != self._committed[url]:
            self._committed[url] = found
            self._changed.set()
            self._changed = trio.Event()

    async def wait(self) -> None:
        """Return once something has been committed."""
        with trio.move_on_after(STALLED_S) as limit:
            await self._changed.wait()
        if limit.cancelled_caught:
            counts = {url: sum(found.values()) for url, found in self._committed.items()}
            raise LoadError(f"nothing was committed for {STALLED_S:.0f} s; so far {counts}")


async def offer(
    issuers: Sequence[Issuer],
    urls: Sequence[str],
    *,
    batch: int = 1,
    connections: int = CONNECTIONS,
    in_flight_max: int = IN_FLIGHT_MAX,
) -> Offered:
    """Offer everything as fast as the nodes take it, and wait until all have committed all.

    Each issuer talks to one node, and to the next of `urls` than the issuer before, over several
    `connections` that send `batch` registrations in a request. What is in flight together stays
    below `in_flight_max`.

    Raises:
        LoadError: a node refuses, or nothing is committed any more.
    """
    progress = _Progress(issuers, urls)
    room = in_flight_max // len(issuers)
    send_s = 0.0
    try:
        async with trio.open_nursery() as nursery:
            started = time.monotonic()

            async def send(issuer: Issuer, url: str) -> None:
                nonlocal send_s
                await _send(issuer, url, progress, batch, connections, room)
                send_s = max(send_s, time.monotonic() - started)

            for url in urls:
                nursery.start_soon(_watch, url, progress)
            for position, issuer in enumerate(issuers):
                nursery.start_soon(send, issuer, urls[position % len(urls)])
            while not progress.is_done:
                await progress.wait()
            commit_s = time.monotonic() - started
            nursery.cancel_scope.cancel()
    except* (ClientError, LoadError) as group:
        raise LoadError("; ".join(str(error) for error in _leaves(group))) from group
    return Offered(sum(progress.wanted.values()), send_s, commit_s)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


async def _send(
    issuer: Issuer, url: str, progress: _Progress, batch: int, connections: int, room: int
) -> None:
    """Send an issuer's registrations over several connections, in the order of their nonces."""
    starts = iter(range(0, len(issuer.raws), batch))

    async def work() -> None:
        async with LightClient(url) as client:
            for start in starts:
                raws = issuer.raws[start : start + batch]
                body = render_calls("eth_sendRawTransaction", [[raw] for raw in raws])
                while start + len(raws) - progress.committed(issuer.address) > max(room, batch):
                    await progress.wait()
                answer = await client.post(body)
                if b'"error"' in answer:
                    raise LoadError(f"{url} refuses a registration: {answer[:300].decode()}")

    async with trio.open_nursery() as nursery:
        for _ in range(connections):
            nursery.start_soon(work)


async def _watch(url: str, progress: _Progress) -> None:
    addresses = [[issuer.address, "latest"] for issuer in progress.issuers]
    async with RpcClient(url) as client:
        while True:
            answers = await client.call_many("eth_getTransactionCount", addresses)
            progress.note(url, [int(answer, 16) for answer in answers])
            await trio.sleep(POLL_S)


# --- one by one, or at a rate -----------------------------------------------------------------


class _Clients:
    """Connections to one node, as many as are needed at a time."""

    def __init__(self, stack: AsyncExitStack, url: str) -> None:
        self._stack = stack
        self._url = url
        self._idle: list[RpcClient] = []

    @asynccontextmanager
    async def take(self) -> AsyncIterator[RpcClient]:
        client = (
            self._idle.pop()
            if self._idle
            else await self._stack.enter_async_context(RpcClient(self._url))
        )
        try:
            yield client
        finally:
            self._idle.append(client)


async def _register(client: RpcClient, raw: str, due_s: float, timed: Timed) -> None:
    """Send a registration and wait for its receipt."""
    try:
        receipt = await client.call("eth_sendRawTransactionSync", raw, SYNC_MS)
    except (ClientError, RemoteError) as error:
        timed.failures.append(str(error))
        return
    timed.latencies_ms.append((time.monotonic() - due_s) * 1_000)
    if receipt["status"] != "0x1":
        timed.failures.append(f"registration failed: {receipt}")


async def offer_one_by_one(issuers: Sequence[Issuer], urls: Sequence[str]) -> Timed:
    """Send each registration once the one before is committed, to one node after the other."""
    timed = Timed()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(RpcClient(url)) for url in urls]
        for turn in range(max(len(issuer.raws) for issuer in issuers)):
            for position, issuer in enumerate(issuers):
                if turn < len(issuer.raws):
                    client = clients[position % len(clients)]
                    await _register(client, issuer.raws[turn], time.monotonic(), timed)
    return timed


async def offer_steadily(
    issuers: Sequence[Issuer], urls: Sequence[str], rate_per_s: float
) -> Timed:
    """Send registrations at a rate, whether or not those before are committed.

    Latencies count from when each was due, so that a node that stalls is not spared.
    """
    timed = Timed()
    turns = max(len(issuer.raws) for issuer in issuers)
    order = [
        (raw[turn], position % len(urls))
        for turn in range(turns)
        for position, raw in enumerate(issuer.raws for issuer in issuers)
        if turn < len(raw)
    ]
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        pools = [_Clients(stack, url) for url in urls]

        async def send(raw: str, pool: _Clients, due_s: float) -> None:
            async with pool.take() as client:
                await _register(client, raw, due_s, timed)

        started = time.monotonic()
        for number, (raw, which) in enumerate(order):
            due_s = started + number / rate_per_s
            await trio.sleep(max(0.0, due_s - time.monotonic()))
            nursery.start_soon(send, raw, pools[which], due_s)
    return timed
