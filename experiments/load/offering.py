"""Load: signed registrations, offered to nodes as fast as they accept them or at a given rate.

Every system under test gets the same load: the bytes of transactions, sent with
eth_sendRawTransaction over HTTP. A registration counts once every watched node has committed it.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import trio

from lowu.contracts.account import Account
from lowu.contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    encode_register_anchor,
)
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.experiments.actors.light_client import LightClient, render_calls
from lowu.node.client import ClientError, RemoteError, RpcClient

REGISTRATION_GAS = 250_000
CONNECTIONS = 8
"""Connections of each issuer, each with one request at a time."""
IN_FLIGHT_MAX = 4_000
POLL_S = 0.05
"""Time between two polls. Polling costs a node some work; late polls cost some accuracy."""
STALLED_S = 30.0
SYNC_MS = 20_000
"""How long the client asks a node to wait until a registration is committed."""
SCHEMA = "grp.kyc/1"


class LoadError(ClientError):
    """The load could not be offered, or was not committed; the text says what happened."""


@dataclass(frozen=True, slots=True)
class SignedLoad:
    """An account and its signed registrations, in the order of their nonces."""

    address: str
    first_nonce: int
    raws: tuple[str, ...]
    """Signed transactions, as 0x and hex digits."""


@dataclass(frozen=True, slots=True)
class Offered:
    """The result of offering a load."""

    count: int
    commit_s: float
    """Time until the last registration was committed on all watched nodes."""


@dataclass(slots=True)
class Timed:
    """Latencies and failures of registrations that were sent one by one."""

    latencies_ms: list[float] = field(default_factory=list)
    """From the time each was due until its receipt; `SYNC_MS` for a failed one."""
    failures: list[str] = field(default_factory=list)


def build_network(nodes: int, **settings: int) -> str:
    """Return a network file of numbered banks, split evenly over the boundary, each a validator.

    `settings` are entries of its ``[network]`` section.
    """
    lines = [
        "# Unnamed banks, evenly split over the boundary: a network for load.",
        "",
        "[network]",
        f'name = "load-{nodes}"',
        f"seed = {nodes}",
        "web3_chain_id = 20200",  # a load is signed before its network starts
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


def sign_registrations(key: bytes, chain_id: int, count: int, first_nonce: int = 0) -> SignedLoad:
    """Return `count` registrations of different anchors, signed by one account."""
    account = Account(key)
    raws = []
    for nonce in range(first_nonce, first_nonce + count):
        data = encode_register_anchor(
            (nonce + 1).to_bytes(32, "big"), schema=SCHEMAS[SCHEMA].number
        )
        raw, _ = account.sign_transaction(
            to=HASH_REGISTRY_ADDRESS,
            data=data,
            gas=REGISTRATION_GAS,
            nonce=nonce,
            chain_id=chain_id,
        )
        raws.append("0x" + raw.hex())
    return SignedLoad(account.address, first_nonce, tuple(raws))


# --- as fast as nodes accept it ---------------------------------------------------------------


class _Progress:
    """How many registrations of each issuer every watched node has committed."""

    def __init__(self, issuers: Sequence[SignedLoad], urls: Sequence[str]) -> None:
        self.issuers = issuers
        self._wanted = {issuer.address: len(issuer.raws) for issuer in issuers}
        self._committed = {url: dict.fromkeys(self._wanted, 0) for url in urls}
        self._changed = trio.Event()

    def committed(self, address: str) -> int:
        """Return how many registrations of an issuer are committed on all nodes."""
        return min(counts[address] for counts in self._committed.values())

    @property
    def is_done(self) -> bool:
        """Whether all registrations are committed on all nodes."""
        return all(self.committed(item) >= count for item, count in self._wanted.items())

    def note(self, url: str, nonces: Sequence[int]) -> None:
        """Record the next nonce of each issuer at a node."""
        pairs = zip(self.issuers, nonces, strict=True)
        found = {issuer.address: nonce - issuer.first_nonce for issuer, nonce in pairs}
        if found != self._committed[url]:
            self._committed[url] = found
            self._changed.set()
            self._changed = trio.Event()

    async def wait(self) -> None:
        """Return once a node has committed more."""
        with trio.move_on_after(STALLED_S) as limit:
            await self._changed.wait()
        if limit.cancelled_caught:
            counts = {url: sum(found.values()) for url, found in self._committed.items()}
            raise LoadError(f"nothing was committed for {STALLED_S:.0f} s; so far {counts}")


async def offer(
    issuers: Sequence[SignedLoad],
    urls: Sequence[str],
    *,
    watched: Sequence[str] = (),
    batch: int = 1,
    connections: int = CONNECTIONS,
    in_flight_max: int = IN_FLIGHT_MAX,
    poll_s: float = POLL_S,
) -> Offered:
    """Offer all registrations as fast as the nodes accept them; wait until all are committed.

    Issuers are spread over `urls` in turn. Each sends to its node over `connections` connections,
    with `batch` registrations in a request. At most `in_flight_max` registrations are in flight.
    Nodes in `watched` have to commit everything too. All nodes are asked for nonces every
    `poll_s` seconds.

    Raises:
        LoadError: a node refuses a registration, or nothing is committed any more.
    """
    everybody = list(dict.fromkeys((*urls, *watched)))
    progress = _Progress(issuers, everybody)
    room = max(1, in_flight_max // len(issuers))
    bodies = [_render(issuer, min(batch, room)) for issuer in issuers]
    refusals: BaseExceptionGroup[ClientError] | None = None
    try:
        async with trio.open_nursery() as nursery:
            started = time.monotonic()
            for url in everybody:
                nursery.start_soon(_watch, url, progress, poll_s)
            for position, issuer in enumerate(issuers):
                url, requests = urls[position % len(urls)], iter(bodies[position])
                for _ in range(connections):
                    nursery.start_soon(_send, issuer, url, progress, requests, room)
            while not progress.is_done:
                await progress.wait()
            commit_s = time.monotonic() - started
            nursery.cancel_scope.cancel()
    except* ClientError as group:
        refusals = group  # Python 3.11.2 would wrap an error raised here in a group
    if refusals is not None:
        raise LoadError("; ".join(str(error) for error in _leaves(refusals))) from refusals
    return Offered(sum(len(issuer.raws) for issuer in issuers), commit_s)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _render(issuer: SignedLoad, batch: int) -> list[tuple[int, bytes]]:
    """Return requests in nonce order, each with the count of registrations up to its end."""
    found = []
    for start in range(0, len(issuer.raws), batch):
        raws = issuer.raws[start : start + batch]
        body = render_calls("eth_sendRawTransaction", [[raw] for raw in raws])
        found.append((start + len(raws), body))
    return found


async def _send(
    issuer: SignedLoad,
    url: str,
    progress: _Progress,
    requests: Iterator[tuple[int, bytes]],
    room: int,
) -> None:
    """Send requests over one connection; other connections take from the same iterator."""
    async with LightClient(url) as client:
        for end, body in requests:
            while end - progress.committed(issuer.address) > room:
                await progress.wait()
            answer = await client.post(body)
            if b'"error"' in answer:
                raise LoadError(f"{url} refuses a registration: {answer[:300].decode()}")


async def _watch(url: str, progress: _Progress, poll_s: float) -> None:
    addresses = [[issuer.address, "latest"] for issuer in progress.issuers]
    async with RpcClient(url) as client:
        while True:
            answers = await client.call_many("eth_getTransactionCount", addresses)
            for answer in answers:
                if isinstance(answer, RemoteError):
                    raise LoadError(f"{url} returns no nonce: {answer}")
            progress.note(url, [int(answer, 16) for answer in answers])
            await trio.sleep(poll_s)


async def count_successes(url: str) -> int:
    """Return how many transactions of a chain succeeded, from the receipts of all blocks."""
    async with RpcClient(url) as client:
        height = int(await client.call("eth_blockNumber"), 16)
        found = 0
        for number in range(1, height + 1):
            receipts = await client.call("eth_getBlockReceipts", hex(number))
            found += sum(receipt["status"] == "0x1" for receipt in receipts)
        return found


# --- one by one, or at a rate -----------------------------------------------------------------


class _Clients:
    """A pool of connections to one node, which grows as needed."""

    def __init__(self, stack: AsyncExitStack, url: str) -> None:
        self._stack = stack
        self._url = url
        self._idle: list[LightClient] = []

    @asynccontextmanager
    async def take(self) -> AsyncIterator[LightClient]:
        client = (
            self._idle.pop()
            if self._idle
            else await self._stack.enter_async_context(LightClient(self._url))
        )
        yield client
        self._idle.append(client)  # not after an error: the connection may be broken


async def _register(clients: _Clients, raw: str, due_s: float, timed: Timed) -> None:
    """Send a registration and wait for its receipt."""
    body = render_calls("eth_sendRawTransactionSync", [[raw, SYNC_MS]])
    failure = f"no answer within {2 * SYNC_MS} ms"
    receipt = None
    with trio.move_on_after(2 * SYNC_MS / 1_000):
        try:
            async with clients.take() as client:
                answer = json.loads(await client.post(body))
                receipt, failure = answer.get("result"), str(answer.get("error", answer))
        except (ClientError, ValueError) as error:
            failure = str(error)
    if receipt is not None and receipt["status"] == "0x1":
        timed.latencies_ms.append((time.monotonic() - due_s) * 1_000)
    else:
        timed.latencies_ms.append(float(SYNC_MS))
        timed.failures.append(failure)


async def offer_one_by_one(issuers: Sequence[SignedLoad], urls: Sequence[str]) -> Timed:
    """Send each registration once the one before is committed; the nodes take turns."""
    timed = Timed()
    async with AsyncExitStack() as stack:
        clients = [_Clients(stack, url) for url in urls]
        for raw, which in _in_turn(issuers, len(urls)):
            await _register(clients[which], raw, time.monotonic(), timed)
    return timed


async def offer_steadily(
    issuers: Sequence[SignedLoad], urls: Sequence[str], rate_per_s: float
) -> Timed:
    """Send registrations at a rate, whether or not earlier ones are committed.

    A latency counts from the time the registration was due, so it includes a node's stalls.
    """
    timed = Timed()
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        clients = [_Clients(stack, url) for url in urls]
        started = time.monotonic()
        for number, (raw, which) in enumerate(_in_turn(issuers, len(urls))):
            due_s = started + number / rate_per_s
            await trio.sleep(max(0.0, due_s - time.monotonic()))
            nursery.start_soon(_register, clients[which], raw, due_s, timed)
    return timed


def _in_turn(issuers: Sequence[SignedLoad], nodes: int) -> list[tuple[str, int]]:
    """Interleave the registrations of all issuers; return each with its node's index."""
    turns = max(len(issuer.raws) for issuer in issuers)
    return [
        (issuer.raws[turn], position % nodes)
        for turn in range(turns)
        for position, issuer in enumerate(issuers)
        if turn < len(issuer.raws)
    ]
