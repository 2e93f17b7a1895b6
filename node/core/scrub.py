"""Looking for damage while a node runs, and mending what its peers can give (N-F8, F32).

A disk damages what nobody reads for years. So the node reads all its records, again and again, with
a small share of one core. A block that cannot be read, or whose records do not fit each other, is
asked of the peers: its certificate proves the header, and the header its transactions and receipts.
What the node knows by heart it writes anew. State and votes cannot be had from anybody: damage of
theirs is counted and logged, and a record that is damaged is never used or served.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import TypeVar

import trio

from lowu.consensus.certificates import MessageVerifier
from lowu.node.chain.block import Block, decode_block, encode_block
from lowu.node.chain.merkle import compute_root
from lowu.node.clock import Clock
from lowu.node.core.scheduler import Run, Scheduler, verify_sealed
from lowu.node.crypto import keccak256
from lowu.node.errors import BadInput, BlockNotKept, StorageError
from lowu.node.gateway.framing import FRAME_BYTES_MAX, ITEMS_MAX, FrameKind
from lowu.node.gateway.gateway import Gateway
from lowu.node.gateway.requests import RecordsRequest
from lowu.node.ledger.inspection import check_block
from lowu.node.ledger.ledger import Ledger
from lowu.node.ledger.schema import height_key

PAUSE_S = 0.25
SHARE = 0.02
"""Share of one core that looking may take."""
BLOCKS_AT_ONCE = 8
RECORDS_AT_ONCE = 256
TOLD_MAX = 1_000
ANSWER_BYTES_MAX = FRAME_BYTES_MAX[FrameKind.RESPONSE] - 64 * 1_024
ANSWER_ITEMS_MAX = ITEMS_MAX - 8
_WITH_HEIGHT = (b"H", b"B", b"R")
"""First bytes of the records of a block that are found by its height."""

T = TypeVar("T")

log = logging.getLogger("SCRUB")


class Scrub:
    """Looks through one node's records, for ever."""

    def __init__(
        self,
        ledger: Ledger,
        gateway: Gateway,
        scheduler: Scheduler,
        verifier: MessageVerifier,
        run: Run,
        clock: Clock,
        pause_s: float,
    ) -> None:
        """Take the parts; everything is read `pause_s` seconds after it was last read.

        What a slice took is told by the node's own clock: in a simulation it is virtual, as another
        run of the same seed would otherwise be another run.
        """
        self._ledger = ledger
        self._gateway = gateway
        self._scheduler = scheduler
        self._verifier = verifier
        self._run = run
        self._clock = clock
        self._pause_s = pause_s
        self._told: set[bytes] = set()
        """Keys of damaged records that have been logged."""
        self._silent: set[bytes] = set()
        """Peers that have not answered this time."""

    async def run(self) -> None:
        """Look through all records whenever it is time; return at once if that is never."""
        while self._pause_s:
            await trio.sleep(self._pause_s)
            await self.look_through()

    async def look_through(self) -> None:
        """Look at all blocks, then at all records, and mend what can be mended."""
        self._silent.clear()
        is_whole = await self._look_at_blocks() and await self._look_at_records()
        if is_whole and self._ledger.damage.first:
            self._ledger.damage.settle()
            log.info("all records are whole again,mended=%d", self._ledger.damage.mended)

    async def _slice(self, work: Callable[[], T]) -> T:
        """Do a little work; then pause, so that it takes its share of a core and no more."""
        started_s = self._clock.elapsed_s()
        found = await self._run(work)
        await trio.sleep(max(PAUSE_S, (self._clock.elapsed_s() - started_s) / SHARE))
        return found

    # --- blocks -----------------------------------------------------------------------------

    async def _look_at_blocks(self) -> bool:
        """Look at each block; return whether all are whole now."""
        ledger, number, is_whole = self._ledger, 0, True
        end = ledger.head.number + 1  # what is committed meanwhile is for the next time
        while number < end and not ledger.is_loading:
            first = max(number, ledger.base)
            number = min(first + BLOCKS_AT_ONCE, end)
            for height, reason in await self._slice(partial(self._check, first, number)):
                self._tell(height_key(b"H", height), f"damaged,height={height},reason={reason}")
                is_whole &= await self._mend(height)
        return is_whole and not ledger.is_loading

    def _check(self, first: int, end: int) -> list[tuple[int, str]]:
        found = []
        for height in range(first, end):
            base = -1
            while base != self._ledger.base <= height:  # blocks may be dropped meanwhile
                base = self._ledger.base
                try:
                    check_block(self._ledger.read_record, height, base)
                except (StorageError, ValueError, TypeError) as error:
                    if base == self._ledger.base:
                        found.append((height, str(error)))
                else:
                    break
        return found

    def _tell(self, key: bytes, text: str) -> None:
        """Log something about a record once."""
        if key not in self._told and len(self._told) < TOLD_MAX:
            self._told.add(key)
            log.error("%s", text)

    async def _mend(self, height: int) -> bool:
        """Write a block's records anew, from a peer that has them; return whether one has."""
        if not height:
            return await self._write(self._ledger.mend_genesis)
        for node_id in sorted(self._gateway.connected - self._silent):
            try:
                answer = await self._gateway.request(node_id, RecordsRequest(height))
            except BadInput as error:
                log.info("no records,peer=%s,reason=%s", node_id.hex()[:16], error)
                self._silent.add(node_id)
                continue
            if answer is None:
                continue
            try:
                block, receipts = await self._run(partial(self._prove, height, answer))
            except BadInput as error:
                self._gateway.ban(node_id, f"records: {error}")
                continue
            if await self._write(partial(self._ledger.mend_block, block, receipts)):
                log.warning("mended,height=%d,from=%s", height, node_id.hex()[:16])
                return True
        self._tell(height_key(b"B", height), f"not mended: no linked peer has it,height={height}")
        return False

    def _prove(self, height: int, answer: object) -> tuple[Block, tuple[bytes, ...]]:
        """Return a block and its receipts, if they are what the validators have signed."""
        if not isinstance(answer, list) or not answer:
            raise BadInput("malformed records")
        items = [item for item in answer if isinstance(item, bytes)]
        if len(items) != len(answer):
            raise BadInput("malformed records")
        block, receipts = decode_block(items[0]), items[1:]
        header = block.header
        if header.number != height:
            raise BadInput(f"block {header.number} instead of {height}")
        verify_sealed(self._verifier, header, block.certificate)
        if len(receipts) != len(block.transactions):
            raise BadInput(f"block {height} with too many receipts, or too few")
        roots = [keccak256(raw) for raw in block.transactions], receipts
        if tuple(map(compute_root, roots)) != (header.tx_root, header.receipt_root):
            raise BadInput(f"block {height} with other transactions or receipts")
        return block, tuple(receipts)

    async def _write(self, mend: Callable[[], bool]) -> bool:
        async with self._scheduler.lock:  # only one writes at a time
            return not self._ledger.is_loading and await self._run(mend)

    async def answer(self, request: RecordsRequest) -> list[bytes] | None:
        """Return a block with its receipts for a peer; None if it is not here as a whole."""
        return await self._run(partial(self._read_block, request.height))

    def _read_block(self, height: int) -> list[bytes] | None:
        if not 0 < height <= self._ledger.head.number:
            return None
        try:
            block, receipts = self._ledger.block(height), self._ledger.receipt_records(height)
        except (BlockNotKept, StorageError):
            return None
        answer = [encode_block(block), *receipts]
        fits = len(answer) < ANSWER_ITEMS_MAX and sum(map(len, answer)) < ANSWER_BYTES_MAX
        return answer if fits else None

    # --- all records ------------------------------------------------------------------------

    async def _look_at_records(self) -> bool:
        """Look at each record; return whether all are whole now."""
        after, is_whole = b"", True
        while not self._ledger.is_loading:
            read = await self._slice(partial(self._read, after))
            for key, value in read:
                if value is None:
                    is_whole &= await self._handle(key)
            if len(read) < RECORDS_AT_ONCE:
                return is_whole
            after = read[-1][0]
        return False

    def _read(self, after: bytes) -> list[tuple[bytes, bytes | None]]:
        found = islice(self._ledger.scan_damaged(after), RECORDS_AT_ONCE)
        return [(key, None if value is None else b"") for key, value in found]

    async def _handle(self, key: bytes) -> bool:
        """Mend what could not be read at a key, and return True; or say that nobody can."""
        place = f"{key[:1]!r} {key[1:].hex()}"
        try:
            if key and await self._run(partial(self._ledger.read_record, key)) is None:
                return True  # it has been deleted since
            place = f"after {place}"  # this one can be read: others that cannot be named
        except StorageError:
            if await self._write(partial(self._ledger.mend_from_memory, key)):
                log.warning("mended from memory,record=%s", place)
                return True
            has_height = key[:1] in _WITH_HEIGHT and len(key) == len(height_key(b"H", 0))
            if has_height and await self._mend(int.from_bytes(key[1:9], "big")):
                return True
        if b"?" + key not in self._told:
            self._ledger.damage.note(f"record {place}: damaged, and not to be had from a peer")
        self._tell(
            b"?" + key,
            f"damaged, and not to be had from a peer,record={place}; run `lowu doctor --repair`, "
            "which gives this node the chain of a sound one",
        )
        return False
