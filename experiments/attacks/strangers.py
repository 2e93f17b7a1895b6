"""Strangers attack a running network, which must withstand them.

The strangers are unknown to the network and own nothing. Some deploy random contracts and send
transactions to them with up to the maximum gas; others have nodes run calls and estimates.
Meanwhile all nodes must stay up, agree on every block's state, and go on making blocks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio

from lowu.contracts.account import Account
from lowu.node.client import ClientError, RemoteError, RpcClient

TX_GAS = 30_000_000
TX_TIMEOUT_S = 120.0
LOOK_S = 2.0
AGREE_S = 60.0
"""How long a node may lag before its block counts as missing."""
KNOWN_MAX = 200
"""Number of contracts remembered for later calls."""

HOSTILE = tuple(
    bytes.fromhex(text)
    for text in (
        "600a600035156000f05000",  # N-P0: CREATE with a comparison's result as its offset
        "5b5f56",  # an endless loop
        "5b5f5f6101005f60045afa505f56",  # an endless loop of calls to the identity precompile
        "6001620fffe0525b5f5f620fffff5f60045afa50600756",  # the same with 1 MB of input (N-F2)
        "630fffffff5f5260d55f5f60d55f60095afa5000",  # BLAKE2F with 268 million rounds (N-F1)
        "5b5f5f6101805f60085afa505f56",  # a loop of empty pairings
        "5b5f5f60605f60055afa505f56",  # a loop of modexp calls
        "5f5f5f5f5f305af100",  # calls itself, as deep as possible
        "5b5f5f5ff0505f56",  # a loop of creations
        "60ef5f5360015ff3",
        "5b5a5a555f56",  # a loop of storage writes
        "5b5a545f56",  # a loop of reads from empty slots
        "5b60205f205f56",
        "5b5f6000fd",
    )
)


@dataclass(slots=True)
class Strangers:
    """The strangers' actions, and the outcomes."""

    transactions: int = 0
    calls: int = 0
    unanswered: int = 0
    """Requests that failed or got no answer in time."""
    statuses: Counter[str] = field(default_factory=Counter)
    blocks: int = 0
    disagreements: list[str] = field(default_factory=list)
    longest_pause_s: float = 0.0
    """The longest time during which no node showed a new block."""


class _Party:
    """One network and the strangers who attack it."""

    def __init__(
        self,
        urls: Sequence[str],
        chain_id: int,
        draw: Callable[[Random], tuple[bytes, ...]],
        placeholders: Sequence[bytes],
    ) -> None:
        self.urls, self.chain_id, self.draw = urls, chain_id, draw
        self.placeholders = placeholders
        self.found = Strangers()
        self.contracts: list[bytes] = []

    async def send(self, seed: int) -> None:
        """Deploy and call contracts, one transaction after another; never returns."""
        random, nonce = Random(seed), 0  # noqa: S311
        account = Account(random.randbytes(32))
        while True:
            url = random.choice(self.urls)
            try:
                async with RpcClient(url, TX_TIMEOUT_S) as client:
                    count = await client.call("eth_getTransactionCount", account.address, "pending")
                    nonce = max(nonce, int(count, 16))
                    await self._send_some(client, random, account, nonce)
                    nonce += 1
            except (ClientError, RemoteError):
                self.found.unanswered += 1
                await trio.sleep(LOOK_S)

    async def _send_some(
        self, client: RpcClient, random: Random, account: Account, nonce: int
    ) -> None:
        to, data = b"", self._write_creation(random)
        if self.contracts and random.random() < 0.6:
            to, data = random.choice(self.contracts), random.randbytes(random.choice((0, 4, 68)))
        gas = TX_GAS if random.random() < 0.3 else random.choice((100_000, 1_000_000))
        raw, tx_hash = account.sign_transaction(
            to=to, data=data, gas=gas, nonce=nonce, chain_id=self.chain_id
        )
        await client.call("eth_sendRawTransaction", "0x" + raw.hex())
        self.found.transactions += 1
        receipt = await client.wait_for_receipt("0x" + tx_hash.hex(), TX_TIMEOUT_S)
        self.found.statuses[str(receipt["status"])] += 1
        if receipt.get("contractAddress") and receipt["status"] == "0x1":
            self.contracts.append(bytes.fromhex(receipt["contractAddress"][2:]))
            del self.contracts[:-KNOWN_MAX]

    def _write_creation(self, random: Random) -> bytes:
        """Return creation code of a contract that calls others by their real addresses."""
        code = random.choice((*HOSTILE, *self.draw(random)))
        for placeholder in self.placeholders:
            if self.contracts:
                code = code.replace(placeholder, random.choice(self.contracts))
        size = len(code).to_bytes(2, "big").hex()
        return bytes.fromhex(f"61{size}80600a5f395ff3") + code

    async def ask(self, seed: int) -> None:
        """Have nodes run calls and estimates; never returns."""
        random = Random(seed)  # noqa: S311
        while True:
            url = random.choice(self.urls)
            try:
                async with RpcClient(url, TX_TIMEOUT_S) as client:
                    while random.random() < 0.95:
                        await self._ask_once(client, random)
            except ClientError:
                self.found.unanswered += 1
                await trio.sleep(LOOK_S)

    async def _ask_once(self, client: RpcClient, random: Random) -> None:
        message = {"data": "0x" + random.choice((*HOSTILE, *self.draw(random))).hex()}
        if self.contracts and random.random() < 0.5:
            message = {"to": "0x" + random.choice(self.contracts).hex(), "data": "0x"}
        self.found.calls += 1
        try:
            await client.call(random.choice(("eth_call", "eth_estimateGas")), message)
        except RemoteError:
            return  # most calls fail; an error is an answer too

    async def watch(self, report: Callable[[Strangers], None]) -> None:
        """Compare the nodes' blocks at each new height; never returns."""
        height, seen_s = 0, trio.current_time()
        while True:
            await trio.sleep(LOOK_S)
            heads = [head for url in self.urls if (head := await _ask_height(url)) is not None]
            now_s = trio.current_time()
            highest = max(heads, default=height)
            if highest > height:
                self.found.blocks += highest - height
                seen_s = now_s
                await self._compare(highest)
            height = max(height, highest)
            self.found.longest_pause_s = max(self.found.longest_pause_s, now_s - seen_s)
            report(self.found)

    async def _compare(self, height: int) -> None:
        """Note a disagreement if a node lacks the block at a height or has another."""
        found: dict[str, Any] = {}
        with trio.move_on_after(AGREE_S):
            for url in self.urls:
                block = await _wait_for_block(url, height)
                found[url] = (block["stateRoot"], block["hash"])
        if len(found) < len(self.urls):
            missing = [url for url in self.urls if url not in found]
            self.found.disagreements.append(f"no block {height} at {', '.join(missing)}")
        elif len(set(found.values())) > 1:
            self.found.disagreements.append(f"block {height}: {found}")


async def _ask_height(url: str) -> int | None:
    try:
        async with RpcClient(url, AGREE_S) as client:
            return int(await client.call("eth_blockNumber"), 16)
    except (ClientError, RemoteError):
        return None


async def _wait_for_block(url: str, height: int) -> Any:
    while True:
        with suppress(ClientError, RemoteError):
            async with RpcClient(url, AGREE_S) as client:
                block = await client.call("eth_getBlockByNumber", hex(height), False)
                if block is not None:
                    return block
        await trio.sleep(LOOK_S)


async def let_in(
    urls: Sequence[str],
    chain_id: int,
    seconds: float,
    seed: int,
    draw: Callable[[Random], tuple[bytes, ...]],
    placeholders: Sequence[bytes],
    report: Callable[[Strangers], None] = lambda found: None,
    senders: int = 3,
    askers: int = 2,
) -> Strangers:
    """Let strangers attack a network for a while; return the outcome.

    `draw` gives random contracts, in which `placeholders` stand for each other's addresses.
    """
    party = _Party(urls, chain_id, draw, placeholders)
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(party.watch, report)
            for number in range(senders):
                nursery.start_soon(party.send, seed * 1_000 + number)
            for number in range(askers):
                nursery.start_soon(party.ask, seed * 1_000 + 500 + number)
    return party.found
