"""Clients of a consortium whose nodes fail meanwhile, and the history of what they saw."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import trio

from lowu.contracts.account import Account
from lowu.contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    AnchorState,
    RevokeReason,
    encode_register_anchor,
    encode_revoke,
)
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.experiments.consistency.checker import WRITES
from lowu.experiments.consistency.recorded import AnchorValue, Operation, OperationKind
from lowu.experiments.crashes.consortium import Consortium
from lowu.institutions.ledger.fresh_reads import FreshReads
from lowu.institutions.ledger.registry import Registry
from lowu.node.client import ClientError, RemoteError
from lowu.node.topology.plan import PlannedInstitution, PlannedNode

GAS = 500_000
ASK_S = 3.0
"""How long a client waits for a node before it asks another one."""
GIVE_UP_S = 20.0
"""After this long, an operation is left open."""
RECENT = 12
"""Anchors of each writer that readers choose from: those about which something happens."""
FAULT_S = 2.0
"""Longest time that a node is down, paused or fine before the next fault."""
THINK_S = 0.1
"""Longest time between two operations of a client."""
READS = (OperationKind.LOCAL_READ, OperationKind.LOCAL_READ, OperationKind.FRESH_READ)
_STATES = {
    AnchorState.NONE: AnchorValue.NONE,
    AnchorState.ACTIVE: AnchorValue.ACTIVE,
    AnchorState.REVOKED: AnchorValue.REVOKED,
}


@dataclass(slots=True)
class Recording:
    """What a run has recorded."""

    operations: list[Operation] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)

    def note_fault(self, kind: str) -> None:
        """Count a fault."""
        self.faults[kind] = self.faults.get(kind, 0) + 1


class Recorder:
    """One run: writers, readers and faults on a consortium."""

    def __init__(self, consortium: Consortium, seed: int, recording: Recording) -> None:
        """Take where the clients are, and where what they see is written down."""
        self._consortium = consortium
        self._nodes = consortium.plan.nodes
        self._random = Random(f"consistency {seed}")  # noqa: S311  (repeatable)
        self._recording = recording
        self._anchors: list[tuple[int, bytes]] = []
        """Organisation and anchor of each key."""
        self._recent: deque[int] = deque(maxlen=RECENT)
        self._down: set[str] = set()
        self._wanted = 0

    async def run(self, operations: int, tell: Callable[[int], None]) -> None:
        """Record so many operations, and let what is open come to its end or be given up."""
        self._wanted = operations
        issuers = [item for item in self._consortium.plan.institutions if item.spec.schemas]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._strike, nursery.cancel_scope)
            async with trio.open_nursery() as clients:
                for issuer in issuers:
                    clients.start_soon(self._write, issuer)
                for node in self._nodes:
                    for number in range(2):
                        clients.start_soon(self._read, node, number)
                clients.start_soon(self._tell, tell)
            nursery.cancel_scope.cancel()

    @property
    def _is_over(self) -> bool:
        return len(self._recording.operations) >= self._wanted

    async def _tell(self, tell: Callable[[int], None]) -> None:
        while not self._is_over:
            tell(len(self._recording.operations))
            await trio.sleep(1)

    # --- faults -------------------------------------------------------------------------------

    async def _strike(self, scope: trio.CancelScope) -> None:
        """Have one node after the other stop, or pause, for a while."""
        random = self._random
        while True:
            await trio.sleep(random.uniform(0, FAULT_S))
            node = random.choice(self._nodes)
            kind = random.choice(("pause", "slow", "slow", "stop"))
            self._recording.note_fault(kind)
            if kind != "stop":
                make = self._consortium.paused if kind == "pause" else self._consortium.slowed
                async with make(node.name):
                    await trio.sleep(random.uniform(0, FAULT_S))
                continue
            with trio.CancelScope(shield=True):  # a node that was stopped is started again
                await self._consortium.stop(node.name)
                await trio.sleep(random.uniform(0, FAULT_S / 2))
                await self._consortium.start(node.name)

    # --- writers --------------------------------------------------------------------------------

    async def _write(self, issuer: PlannedInstitution) -> None:
        """Register anchors of one issuer and revoke most of them, one operation at a time."""
        account = Account(issuer.account_key)
        schema = SCHEMAS[issuer.spec.schemas[0]].number
        nonce, random = 0, Random(self._random.random())  # noqa: S311
        own: list[int] = []
        while not self._is_over:
            await trio.sleep(random.uniform(0, THINK_S))
            if own and random.random() < 0.4:
                key = own.pop(random.randrange(len(own)))
                kind, call = OperationKind.REVOKE, encode_revoke(self._anchors[key][1], _REASON)
            else:
                key = len(self._anchors)
                anchor = random.randbytes(32)
                self._anchors.append((issuer.org_id, anchor))
                own.append(key)
                self._recent.append(key)
                kind, call = OperationKind.REGISTER, encode_register_anchor(anchor, schema=schema)
            raw, tx_hash = account.sign_transaction(
                to=HASH_REGISTRY_ADDRESS,
                data=call,
                gas=GAS,
                nonce=nonce,
                chain_id=self._consortium.plan.genesis.web3_chain_id,
            )
            nonce += 1
            started = Operation(kind, key, issuer.spec.id, "", trio.current_time())
            await self._send(started, random, "0x" + raw.hex(), "0x" + tx_hash.hex())

    async def _send(self, started: Operation, random: Random, raw: str, tx_hash: str) -> None:
        """Send a transaction through one node after the other until one has committed it.

        Its nonce makes it one operation however often it is sent. It has to be known before the
        account's next one: only the end of the run leaves it open.
        """
        place = len(self._recording.operations)
        self._recording.operations.append(started)
        while True:
            node = random.choice(self._nodes)
            receipt: Any = None
            with trio.move_on_after(ASK_S):
                receipt = await self._try(node, raw, tx_hash)
            if receipt is not None:
                is_done = receipt["status"] == "0x1"
                self._recording.operations[place] = replace(
                    started,
                    node=node.name,
                    end_s=trio.current_time(),
                    value=WRITES[started.kind],
                    is_refused=not is_done,
                )
                return
            if self._is_over and trio.current_time() - started.start_s > GIVE_UP_S:
                return

    async def _try(self, node: PlannedNode, raw: str, tx_hash: str) -> Any:
        async with self._consortium.client(node) as client:
            try:
                await client.call("eth_sendRawTransaction", raw)
            except RemoteError:
                pass  # it is known there, or its nonce is
            except ClientError:
                await trio.sleep(0.1)
                return None
            while True:
                try:
                    receipt = await client.call("eth_getTransactionReceipt", tx_hash)
                except (ClientError, RemoteError):
                    return None
                if receipt is not None:
                    return receipt
                await trio.sleep(0.02)

    # --- readers ----------------------------------------------------------------------------

    async def _read(self, node: PlannedNode, number: int) -> None:
        """Read anchors about which something happens, through one node."""
        random = Random(self._random.random())  # noqa: S311
        name = f"reader {node.name}/{number}"
        others = [other for other in self._nodes if other is not node]
        while not self._is_over:
            await trio.sleep(random.uniform(0, THINK_S))
            if not self._recent:
                continue
            key = random.choice(self._recent)
            kind = random.choice(
                (OperationKind.LOCAL_READ, OperationKind.LOCAL_READ, OperationKind.FRESH_READ)
            )
            started = Operation(kind, key, name, node.name, trio.current_time())
            with trio.move_on_after(GIVE_UP_S):
                try:
                    value = await self._read_once(node, others, kind, key)
                except (ClientError, RemoteError):
                    continue  # a read without an answer says nothing
                done = replace(started, end_s=trio.current_time(), value=value)
                self._recording.operations.append(done)

    async def _read_once(
        self, node: PlannedNode, others: list[PlannedNode], kind: OperationKind, key: int
    ) -> AnchorValue:
        own = self._consortium.client(node)
        if kind is OperationKind.FRESH_READ:
            rest = [self._consortium.client(other) for other in others]
            try:
                await FreshReads(own, rest).catch_up()
            finally:
                with trio.CancelScope(shield=True):
                    for client in rest:
                        await client.aclose()
        async with own:
            record = await Registry(own).get_record(*self._anchors[key])
        return _STATES[record.state]


_REASON = RevokeReason.CORRECTED
