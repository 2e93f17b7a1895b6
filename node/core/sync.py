"""Block sync: a node that was away fetches blocks with certificates and re-executes them.

Every node announces its height every few seconds, and after each commit to those who do not
vote: CHECKPOINTs tell the others. A node behind asks a peer that is ahead for a bounded range,
checks each certificate, executes each block and compares the header; far behind, it asks several
at once (`block_ranges`). A peer that sends something wrong is banned for a while and another one is
asked (F23). A height is a claim until blocks prove it: a peer that claims more than it gives is
doubted for a while, longer each time, and holds up nobody (B48).

An announcement also says whether its sender abstains from voting (rule R-WIPE-1), so that others
do not wait for it as a leader (N-C1). It can say so of itself only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from lowu.consensus.catch_up import is_witnessed
from lowu.consensus.inputs import CaughtUp, Synced
from lowu.consensus.messages import CommitCertificate
from lowu.consensus.types import HEIGHT_MAX
from lowu.node.chain.block import Header, decode_block, encode_block
from lowu.node.core.block_ranges import BlockRanges
from lowu.node.core.inbox import Inbox
from lowu.node.core.membership import Membership
from lowu.node.core.scheduler import Scheduler
from lowu.node.core.snapshots import SnapshotClient
from lowu.node.errors import BadInput, BlockNotKept, DamagedData
from lowu.node.gateway.framing import MIB, FrameKind
from lowu.node.gateway.gateway import Gateway
from lowu.node.gateway.requests import BlocksRequest
from lowu.node.ledger.ledger import Ledger

RANGE_BLOCKS_MAX = 64
RANGE_BYTES_MAX = 16 * MIB
ANNOUNCE_S = 3.0
LOOK_AGAIN_S = 0.1
GRACE_S = 1.0
"""How long a validator waits for consensus to deliver a block that a peer already has."""

NEWS_S = 0.5
"""How long a node waits for those to tell their heights who have more than it."""

DOUBT_S_MIN = 1.0
DOUBT_S_MAX = 30.0
"""How long a peer is not asked that had nothing to give: twice as long each time, up to this."""

log = logging.getLogger("SYNC")


@dataclass(slots=True)
class Doubt:
    """A peer that claimed more blocks than it gave."""

    count: int = 0
    """How often, since it last gave a block."""
    until_s: float = 0.0
    """Its claims count for nothing before this moment."""


NO_DOUBT = Doubt()


class Sync:
    """Keeps one node's chain level with its peers'."""

    def __init__(
        self,
        ledger: Ledger,
        gateway: Gateway,
        scheduler: Scheduler,
        membership: Membership,
        inbox: Inbox,
        is_abstaining: Callable[[], bool] = lambda: False,
        snapshots: SnapshotClient | None = None,
    ) -> None:
        """Take the parts; `is_abstaining` says whether this node abstains from voting."""
        self.snapshots = snapshots
        self._linking_until_s = 0.0
        """Until when, after a start, others may still link up and tell their heights."""
        self._ledger = ledger
        self._gateway = gateway
        self._scheduler = scheduler
        self._membership = membership
        self._inbox = inbox
        self._is_abstaining = is_abstaining
        self._is_lagging = False
        """Whether the others are told that this node lags."""
        self._wanted_height = 0
        self._changed = trio.Event()
        self.peer_heights: dict[bytes, tuple[int, bytes]] = {}
        self.abstaining: frozenset[bytes] = frozenset()
        """Peers that say that they do not vote now."""
        self.on_abstaining: Callable[[], None] = lambda: None
        self.is_syncing = False
        self._attempts = 0
        self._doubts: dict[bytes, Doubt] = {}
        self._asking: tuple[bytes, trio.CancelScope] | None = None
        self._without: tuple[int, set[bytes]] = 0, set()
        """A head, and the peers that have answered that they have no block above it."""
        self._heard: dict[bytes, int] = {}
        """Which height each has told first since the start, while that matters."""
        self._told_epoch = 0
        """The first height of the epoch for which consensus was told that this node caught up."""

    def request(self, height: int) -> None:
        """Fetch up to `height` now: consensus knows that it exists."""
        self._wanted_height = max(self._wanted_height, height)
        self._changed.set()

    def announce(self) -> None:
        """Tell all peers where this node stands."""
        self._announce_to(self._gateway.connected)

    def announce_to(self, node_id: bytes) -> None:
        """Tell one peer where this node stands."""
        self._announce_to(frozenset({node_id}))

    def tell_lag(self, *, is_lagging: bool) -> None:
        """Tell all peers that this node lags, and does not vote; or that it does again."""
        self._is_lagging = is_lagging
        self.announce()

    def announce_to_observers(self) -> None:
        """Tell the peers that take no CHECKPOINTs, and those that were voted in by this head.

        Besides observers, these are validators that abstain: they vote again after some blocks.
        """
        validators = self._membership.validators_at(self._ledger.head.number)
        voters = {item.node_id for item in validators.validators}
        self._announce_to(self._gateway.connected - (voters - self.abstaining))

    def _announce_to(self, node_ids: frozenset[bytes]) -> None:
        head = self._ledger.head.number
        is_out = self._is_abstaining() or self._is_lagging
        status = [head, self._ledger.header(head).hash, is_out]
        self._gateway.broadcast(node_ids, FrameKind.SYNC_STATUS, status)

    async def handle_status(self, node_id: bytes, value: Any) -> None:
        """Note a peer's height, and whether it abstains."""
        match value:
            case [int(height), bytes(block_hash), bool(abstains)] if (
                0 <= height <= HEIGHT_MAX and len(block_hash) == 32
            ):
                self.peer_heights[node_id] = (height, block_hash)
                self._note_abstaining(node_id, abstains)
                if height < self._ledger.head.number:
                    self._announce_to(frozenset({node_id}))  # it may ask for what it has not
                is_witness = self._is_catching_up and not abstains
                if is_witness:
                    self._heard.setdefault(node_id, height)
                if is_witness or height > self._ledger.head.number:
                    self._changed.set()
                    self._stop_asking_in_vain(node_id, height)
            case _:
                raise BadInput("malformed sync status")

    def _note_abstaining(self, node_id: bytes, abstains: bool) -> None:
        if (node_id in self.abstaining) is not abstains:
            self.abstaining ^= {node_id}
            self.on_abstaining()

    def _stop_asking_in_vain(self, node_id: bytes, height: int) -> None:
        """Give up waiting for a doubted peer: somebody without a doubt has news."""
        if self._asking is None or height <= self._ledger.head.number:
            return
        asked, scope = self._asking
        if asked in self._doubts and node_id not in self._doubts:
            scope.cancel()

    @property
    def known_highest(self) -> int:
        """The highest height that a connected peer has announced which is not in doubt."""
        return max((height for height, _ in self._claims().values()), default=0)

    def _claims(self) -> dict[bytes, tuple[int, bytes]]:
        """Return what connected peers have announced, without those in doubt now."""
        connected, now_s = self._gateway.connected, trio.current_time()
        return {
            node: item
            for node, item in self.peer_heights.items()
            if node in connected and now_s >= self._doubts.get(node, NO_DOUBT).until_s
        }

    async def run(self) -> None:
        """Announce regularly and fetch whenever this node is behind."""
        self._linking_until_s = trio.current_time() + ANNOUNCE_S
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._announce_for_ever)
            while True:
                await self._tell_caught_up()
                if not self._is_behind():
                    self._changed = trio.Event()
                    await self._changed.wait()
                    continue
                if await self._is_worth_fetching():
                    self.is_syncing = True
                    try:
                        await self._fetch_round()
                    finally:
                        self.is_syncing = False

    async def _tell_caught_up(self) -> None:
        """Tell consensus once that this node has what a quorum, itself included, had at its start.

        Others may claim what they like (B48): the argument of R-WIPE-1 needs one quorum. It needs
        one claim of each, too: what they have later is no matter of this node's lost votes, and
        while they go on, a node that fetches is always behind it. While this node abstains, it is
        told anew in each epoch.
        """
        if not self._is_catching_up:
            self._heard.clear()
            return
        head = self._ledger.head.number
        epoch = self._membership.epochs.at(head + 1)
        if self._told_epoch == epoch.first_height:
            return
        level = {node for node, height in self._heard.items() if height <= head}
        if is_witnessed(epoch.validators, level, self._gateway.node_id):
            self._told_epoch = epoch.first_height
            await self._tell_replica(CaughtUp(head))

    @property
    def _is_catching_up(self) -> bool:
        """Whether consensus may have to know that this node has caught up."""
        return not self._told_epoch or self._is_abstaining()

    async def _tell_replica(self, event: Synced | CaughtUp) -> None:
        await self._inbox.deliver(event)

    def _is_behind(self) -> bool:
        return max(self.known_highest, self._wanted_height) > self._ledger.head.number

    async def _is_worth_fetching(self) -> bool:
        """Leave a validator that is only just behind to consensus for a moment."""
        head = self._ledger.head.number
        index = self._membership.next_validators.index_of(self._gateway.node_id)
        is_voting = index is not None and not self._is_abstaining()
        if not is_voting or self._wanted_height > head or self.known_highest > head + 8:
            return True
        await trio.sleep(GRACE_S)
        return self._ledger.head.number == head

    async def _announce_for_ever(self) -> None:
        while True:
            self.announce()
            await trio.sleep(ANNOUNCE_S)
            self._gateway.close_strangers()  # by now a removed node knows of its removal

    async def _fetch_round(self) -> None:
        head = self._ledger.head.number
        ahead = self._list_ahead()
        if not ahead:
            await self._ask_for_heights(head)
            return
        snapshots = self.snapshots
        is_far = snapshots is not None and snapshots.is_due(self.known_highest)
        is_vouched = snapshots is not None and snapshots.is_due(self._vouched_height())
        if is_far and not is_vouched and trio.current_time() < self._linking_until_s:
            await trio.sleep(LOOK_AGAIN_S)  # others have not told their heights yet
            return
        if snapshots is not None and is_vouched:
            loaded = await snapshots.fetch(self._list_ahead)
            if loaded is not None:
                await self._tell_synced(loaded.certificate, loaded.header)
                return
        vouched = self._vouched_height()
        if vouched - head > RANGE_BLOCKS_MAX:
            await self._fetch_many(head, vouched)
            return
        self._attempts += 1
        node_id = ahead[self._attempts % len(ahead)]  # never the same silent peer for ever
        try:
            imported = await self._fetch_from(node_id, head + 1)
        except BadInput as error:
            self._gateway.ban(node_id, f"sync: {error}")
            self._doubt(node_id)
            return
        if imported:
            self._doubts.pop(node_id, None)
            log.info("synced,height=%d,from=%s", self._ledger.head.number, node_id.hex()[:16])
        elif self._ledger.head.number == head:
            self._doubt(node_id)
            await trio.sleep(0.05)

    async def _fetch_many(self, head: int, end: int) -> None:
        """Fetch up to a height that an honest validator has, from all peers that are ahead."""
        heights = {node: height for node, (height, _) in self._claims().items() if height > head}
        ranges = BlockRanges(self._ask_for, head + 1, end, RANGE_BLOCKS_MAX)
        async with trio.open_nursery() as nursery:
            ranges.start(nursery, heights)
            while (found := await ranges.next_range()) is not None:
                node_id, answer = found
                try:
                    await self._import(answer)
                except BadInput as error:
                    self._gateway.ban(node_id, f"sync: {error}")
                    ranges.refuse(node_id)
                if self._ledger.head.number < ranges.wanted:
                    ranges.refuse(node_id)  # old blocks, or none
                ranges.take_over(self._ledger.head.number)
            nursery.cancel_scope.cancel()
        for node_id in heights:
            if node_id in ranges.silent:
                self._doubt(node_id)
            else:
                self._doubts.pop(node_id, None)
        if self._ledger.head.number > head:
            log.info("synced,height=%d,peers=%d", self._ledger.head.number, len(heights))
        else:
            await trio.sleep(0.05)

    def _vouched_height(self) -> int:
        """Return the highest height that validators of more than f weight claim to have."""
        validators = self._membership.next_validators
        claimed = ((height, node) for node, (height, _) in self._claims().items())
        found: list[int] = []
        for height, node in sorted(claimed, reverse=True):
            index = validators.index_of(node)
            if index is not None:
                found.append(index)
            if validators.has_honest(found):
                return height
        return 0

    def _list_ahead(self) -> list[bytes]:
        """Return the peers that have more blocks; those in doubt only if there is no other."""
        head = self._ledger.head.number
        ahead = sorted(node for node, (height, _) in self._claims().items() if height > head)
        return [node for node in ahead if node not in self._doubts] or ahead

    async def _ask_for_heights(self, head: int) -> None:
        """Have those tell their heights who have more: what consensus asks for is new.

        If nobody does, it is forgotten: one validator alone may have claimed it (B48).
        """
        self.announce()
        with trio.move_on_after(NEWS_S):
            while self.known_highest <= head:
                self._changed = trio.Event()
                await self._changed.wait()
        if self.known_highest <= head:
            self._wanted_height = min(self._wanted_height, head)

    def _doubt(self, node_id: bytes) -> None:
        """Ignore what a peer claims for a while."""
        doubt = self._doubts.setdefault(node_id, Doubt())
        delay_s = min(DOUBT_S_MAX, DOUBT_S_MIN * 2**doubt.count)
        doubt.count = min(doubt.count + 1, 16)
        doubt.until_s = trio.current_time() + delay_s

    async def _fetch_from(self, node_id: bytes, start: int) -> int:
        answer: Sequence[object] = []
        try:
            with trio.CancelScope() as scope:
                self._asking = node_id, scope
                answer = await self._ask_for(node_id, start, RANGE_BLOCKS_MAX)
        except BadInput as error:
            log.info("no answer,peer=%s,reason=%s", node_id.hex()[:16], error)
            return 0
        finally:
            self._asking = None
        return await self._import(answer)

    async def _ask_for(self, node_id: bytes, start: int, count: int) -> list[object]:
        """Return what a peer answers, at most `count` blocks; `BadInput` if it does not answer."""
        answer = await self._gateway.request(node_id, BlocksRequest(start, count))
        if not isinstance(answer, list) or len(answer) > count:
            error = BadInput("answer is not a list of blocks")
            self._gateway.ban(node_id, f"sync: {error}")
            raise error
        if not answer and start == self._ledger.head.number + 1:
            self._note_without(node_id)
        return answer

    def _note_without(self, node_id: bytes) -> None:
        """Note that a peer has not the next block; if an honest one has not, old ones are gone."""
        head = self._ledger.head.number
        if self._without[0] != head:
            self._without = head, set()
        self._without[1].add(node_id)
        validators = self._membership.next_validators
        found = map(validators.index_of, self._without[1])
        is_gone = validators.has_honest([index for index in found if index is not None])
        if is_gone and self.snapshots is not None:
            self.snapshots.note_blocks_gone()

    async def _import(self, answer: Sequence[object]) -> int:
        """Take over blocks in order; return how many were new."""
        imported = 0
        for data in answer:
            if not isinstance(data, bytes):
                raise BadInput("block is not bytes")
            block = decode_block(data)
            imported += await self._scheduler.import_block(block)
            if block.header.number == self._ledger.head.number:
                await self._tell_synced(block.certificate, block.header)
        return imported

    async def _tell_synced(self, certificate: CommitCertificate, header: Header) -> None:
        epoch = self._membership.epochs.at(header.number + 1)
        await self._tell_replica(Synced(certificate, header.timestamp_ms, epoch))

    def answer_blocks(self, request: BlocksRequest) -> list[bytes]:
        """Return a bounded range of our blocks for a peer (B40)."""
        blocks: list[bytes] = []
        size, start = 0, request.start
        for number in range(start, start + min(request.count, RANGE_BLOCKS_MAX)):
            if number > self._ledger.head.number or size > RANGE_BYTES_MAX:
                break
            try:
                blocks.append(encode_block(self._ledger.block(number)))
            except BlockNotKept:
                break
            except DamagedData:
                log.exception("block damaged,height=%d", number)
                break  # the peer asks another one
            size += len(blocks[-1])
        return blocks
