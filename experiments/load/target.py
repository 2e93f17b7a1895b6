"""Runs of an experiment against a system that is there already.

It speaks Ethereum's JSON-RPC, or that of FISCO BCOS 2.x or 3.x; which of them is found out.

Transactions for Ethereum's are legacy ones with an explicit gas limit and price, which all take.
They are sent by fresh accounts, whose keys nobody else can have; where gas has a price, a funder
pays for it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import trio

from lowu.contracts.account import Account
from lowu.experiments.load.observed import Observed
from lowu.experiments.load.offered.dialects import (
    Dialect,
    EthDialect,
    Fisco2Dialect,
    Fisco3Dialect,
    read_number,
)
from lowu.experiments.load.offered.generator import GeneratorStatus
from lowu.experiments.load.offered.generator_process import Generators, running_generators
from lowu.experiments.load.offered.mix import ALL_WORKLOADS, REGISTRY_WORKLOADS, Mix
from lowu.experiments.load.offered.steps import Sender
from lowu.experiments.load.offered.workloads import (
    DEPLOY_GAS,
    GAS_MAX,
    deploy,
)
from lowu.experiments.load.planned.experiment_file import Experiment
from lowu.experiments.load.run import GENERATOR, HEADWAY_S, LoadRun, conclude, plan_load
from lowu.node.client import RemoteError, RpcClient

SENDERS = 8
"""Accounts that send; each keeps the order of its transactions."""
PRICE_FACTOR = 2
"""By how much more than the present gas price is offered: prices may rise while a load runs."""
TRANSFER_GAS = 21_000
CLOSED_COUNT = 10_000
"""How many transactions of an account are paid for in a closed loop."""


def check_target(experiment: Experiment) -> None:
    """Raise `ValueError` if an experiment cannot run on a system that Lowu has not started."""
    if experiment.faults or experiment.links or experiment.changes or experiment.random_faults:
        raise ValueError(
            "a target's network cannot be changed: leave out [network], [[link]], [[fault]] "
            "and [random_faults]"
        )
    own = sorted(experiment.load.workload.keys() & REGISTRY_WORKLOADS)
    if own:
        others = ", ".join(name for name in ALL_WORKLOADS if name not in REGISTRY_WORKLOADS)
        raise ValueError(
            f"{own[0]} is for institutions of a Lowu network; a target can run {others}"
        )


async def run_on_target(
    experiment: Experiment,
    urls: Sequence[str],
    funder: bytes | None,
    number: int,
    *,
    tell: Callable[[str], None],
    watch: Callable[[GeneratorStatus], None],
) -> LoadRun:
    """Offer a run's load to a system, which is left as it is then.

    The generator sends to all its JSON-RPC endpoints, `urls`. `funder` is the private key of an
    account that pays for gas, if gas has a price; without it, an account that the system has
    unlocked pays.

    Raises:
        ClientError: the system does not answer, or refuses what has to be set up.
        ValueError: nobody pays, or a contract cannot be created.
    """
    seed = experiment.seed + number
    load = experiment.load
    keys = [secrets.token_bytes(32) for _ in range(SENDERS)]
    creator = Account(secrets.token_bytes(32))
    async with RpcClient(urls[0]) as client:
        dialect = await find_dialect(client)
        method, params = dialect.ask_height()
        read_number(await client.call(method, *params))  # else nothing could be followed
        chain_id = dialect.chain_id if isinstance(dialect, EthDialect) else 0
        price = dialect.price if isinstance(dialect, EthDialect) else 0
        senders = tuple(Sender(key) for key in keys)
        plan = plan_load(load, seed, tuple(urls), senders, chain_id, dialect=dialect)
        if price:
            tell("paying for the gas of the accounts that send")
            count = len(plan.due_s) // SENDERS + 1 if plan.due_s else CLOSED_COUNT
            wanted = {Account(key).address: GAS_MAX * count * price for key in keys}
            wanted[creator.address] = 4 * DEPLOY_GAS * SENDERS * price
            await _Purse(client, chain_id, price, funder).pay(wanted)
        addresses = await deploy(
            client,
            Mix(load.workload, seed).contracts,
            [Account(key).address for key in keys],
            creator,
            dialect,
        )
    with running_generators(
        replace(plan, addresses=addresses), load.generators, number
    ) as generator:
        tell("signing what is due")
        await trio.to_thread.run_sync(generator.wait_until_signed, abandon_on_cancel=True)
        return await _offer(experiment, seed, generator, watch)


async def find_dialect(client: RpcClient) -> Dialect:
    """Return how a system is spoken to: of FISCO BCOS, its first group.

    Raises:
        ClientError: it does not answer.
        ValueError: it is none that Lowu knows, or it uses SM2.
    """
    with suppress(RemoteError):
        chain_id = read_number(await client.call("eth_chainId"))
        price = PRICE_FACTOR * read_number(await client.call("eth_gasPrice"))
        return EthDialect(chain_id, price)
    try:
        groups = await client.call("getGroupList")
        if isinstance(groups, list) and type(groups[0]) is int:
            told = await client.call("getClientVersion")
            if "gm" in str(told.get("FISCO-BCOS Version", "")):
                raise ValueError("this chain uses SM2 and SM3, for which there is no load yet")
            return Fisco2Dialect(read_number(told["Chain Id"], 10), groups[0])
        (group, *_) = groups["groupList"]
        if not isinstance(groups, dict) or not isinstance(group, str):
            raise TypeError("getGroupList names no group")
        told = await client.call("getGroupInfo", group)
        if told.get("smCryptoType"):
            raise ValueError("this chain uses SM2 and SM3, for which there is no load yet")
        return Fisco3Dialect(str(told["chainID"]), str(group))
    except (RemoteError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(
            f"neither Ethereum's JSON-RPC nor that of FISCO BCOS answers there ({error})"
        ) from error


async def _offer(
    experiment: Experiment,
    seed: int,
    generator: Generators,
    watch: Callable[[GeneratorStatus], None],
) -> LoadRun:
    generator.begin(time.monotonic() + HEADWAY_S, watch)
    is_complete = True
    try:
        found = await trio.to_thread.run_sync(generator.collect, abandon_on_cancel=True)
    except KeyboardInterrupt:
        is_complete = False
        generator.stop()
        with trio.CancelScope(shield=True):
            found = await trio.to_thread.run_sync(generator.collect)
    return conclude(
        experiment, seed, found, [],
        observed=Observed({GENERATOR: found.cpu_s}), view_changes=0, is_healed=True,
        is_complete=is_complete,
    )  # fmt: skip


class _Purse:
    """Who pays for gas: an account of ours, or one that the system has unlocked."""

    def __init__(self, client: RpcClient, chain_id: int, price: int, funder: bytes | None) -> None:
        self._client = client
        self._chain_id = chain_id
        self._price = price
        self._account = None if funder is None else Account(funder)

    async def pay(self, wanted: dict[str, int]) -> None:
        """Send each account so much that it has as much as is wanted, in wei."""
        sent = []
        for address, amount in wanted.items():
            balance = int(str(await self._client.call("eth_getBalance", address, "latest")), 16)
            if balance < amount:
                sent.append(await self._send(address, amount - balance))
        for item in sent:
            receipt = await self._client.wait_for_receipt(item)
            if receipt["status"] != "0x1":
                raise ValueError("the funder could not pay for gas: its transaction failed")

    async def _send(self, to: str, value: int) -> Any:
        if self._account is not None:
            raw, _ = self._account.sign_transaction(
                to=bytes.fromhex(to[2:]),
                data=b"",
                gas=TRANSFER_GAS,
                nonce=await self._next_nonce(),
                chain_id=self._chain_id,
                value=value,
                price=self._price,
            )
            return await self._client.call("eth_sendRawTransaction", "0x" + raw.hex())
        try:
            unlocked = await self._client.call("eth_accounts")
        except RemoteError:
            unlocked = []
        if not isinstance(unlocked, list) or not unlocked:
            raise ValueError(
                "gas has a price there, and no account is unlocked: give the key file of one that "
                "pays with --funder"
            )
        order = {"from": unlocked[0], "to": to, "value": hex(value), "gas": hex(TRANSFER_GAS)}
        return await self._client.call("eth_sendTransaction", order)

    async def _next_nonce(self) -> int:
        address = self._account.address if self._account else ""
        return int(str(await self._client.call("eth_getTransactionCount", address, "pending")), 16)
