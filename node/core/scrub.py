"""Looking for damage while a node runs, and mending what its peers can give (N-F8, F32).

A disk damages what nobody reads for years. So the node reads all its records, again and again, with
a small share of one core. A block that cannot be read, or whose records do not fit each other, is
asked of the peers: its certificate proves the header, and the header its transactions and receipts.
What the node knows by heart it writes anew. State and votes cannot be had from anybody: damage of
theirs is counted and logged, and a record that is damaged is never used or served.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import TypeVar

import trio

from lowu.consensus.certificates import MessageVerifier
from lowu.consensus.errors import InvalidMessage
from lowu.node.chain.block import Block, decode_block, encode_block
from lowu.node.chain.merkle import compute_root
from lowu.node.core.scheduler import Run, Scheduler
from lowu.node.crypto import keccak256
from lowu.node.errors import BadInput, BlockNotKept, DamagedData
from lowu.node.gateway.framing import FRAME_BYTES_MAX, FrameKind
from lowu.node.gateway.gateway import Gateway
from lowu.node.gateway.requests import RecordsRequest
from lowu.node.ledger.inspection import check_block
from lowu.node.ledger.ledger import Ledger
from lowu.node.ledger.schema import decode_list, encode_list

PAUSE_S = 0.25
SHARE = 0.02
"""Share of one core that looking may take."""
BLOCKS_AT_ONCE = 8
RECORDS_AT_ONCE = 256
TOLD_MAX = 1_000
ANSWER_BYTES_MAX = FRAME_BYTES_MAX[FrameKind.RESPONSE] - 1_024
_WITH_HEIGHT = b"HBR"
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
        pause_s: float,
    ) -> None:
        """Take the parts; everything is read `pause_s` seconds after it was last read."""
        self._ledger = ledger
        self._gateway = gateway
        self._scheduler = scheduler
        self._verifier = verifier
        self._run = run
        self._pause_s = pause_s
        self._told: set[bytes] = set()
        """Keys of damaged records that nobody can mend, which are logged once."""

    async def run(self) -> None:
        """Look through all records whenever it is time; return at once if that is never."""
        while self._pause_s:
            await trio.sleep(self._pause_s)
            await self.look_through()

    async def look_through(self) -> None:
        """Look at all blocks, then at all records, and mend what can be mended."""
        is_whole = await self._look_at_blocks() and await self._look_at_records()
        if is_whole and self._ledger.damage.first:
            self._ledger.damage.settle()
            log.info("all records are whole again,mended=%d", self._ledger.damage.mended)

    async def _slice(self, work: Callable[[], T]) -> T:
        """Do a little work; then pause, so that it takes its share of a core and no more."""
        started_s = time.monotonic()
        found = await self._run(work)
        await trio.sleep(max(PAUSE_S, (time.monotonic() - started_s) / SHARE))
        return found

    # --- blocks -----------------------------------------------------------------------------

    async def _look_at_blocks(self) -> bool:
        """Look at each block; return whether all are whole now."""
        ledger, number, is_whole = self._ledger, 0, True
        while number <= ledger.head.number and not ledger.is_loading:
            first = max(number, ledger.base)
            number = min(first + BLOCKS_AT_ONCE, ledger.head.number + 1)
            for height, reason in await self._slice(partial(self._check, first, number)):
                log.error("damaged,height=%d,reason=%s", height, reason)
                is_whole &= await self._mend(height)
        return is_whole and not ledger.is_loading

    def _check(self, first: int, end: int) -> list[tuple[int, str]]:
        found = []
        for height in range(first, end):
            try:
                check_block(self._ledger.read_record, height, self._ledger.base)
            except (DamagedData, ValueError, TypeError) as error:
                if height >= self._ledger.base:  # a state may have been loaded meanwhile
                    found.append((height, str(error)))
        return found

    async def _mend(self, height: int) -> bool:
        """Write a block's records anew, from a peer that has them; return whether one has."""
        if not height:
            return await self._write(self._ledger.mend_genesis)
        for node_id in sorted(self._gateway.connected):
            try:
                answer = await self._gateway.request(node_id, RecordsRequest(height))
            except BadInput as error:
                log.info("no records,peer=%s,reason=%s", node_id.hex()[:16], error)
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
        log.error("not mended: no linked peer has it,height=%d", height)
        return False

    def _prove(self, height: int, answer: object) -> tuple[Block, tuple[bytes, ...]]:
        """Return a block and its receipts, if they are what the validators have signed."""
        match answer:
            case [bytes(block_data), bytes(receipts_data)]:
                block, receipts = decode_block(block_data), _decode_receipts(receipts_data)
            case _:
                raise BadInput("malformed records")
        header, certificate = block.header, block.certificate
        expected = (height, header.proposal_digest, header.hash)
        signed = (certificate.height, certificate.digest, certificate.block_hash)
        if header.number != height or signed != expected:
            raise BadInput(f"not block {height}, or not with its own certificate")
        try:
            self._verifier.verify_commit(certificate)
        except InvalidMessage as error:
            raise BadInput(f"block {height}: {error}") from error
        roots = [keccak256(raw) for raw in block.transactions], receipts
        if tuple(map(compute_root, roots)) != (header.tx_root, header.receipt_root):
            raise BadInput(f"block {height} with other transactions or receipts")
        return block, receipts

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
        except (BlockNotKept, DamagedData):
            return None
        answer = [encode_block(block), encode_list(receipts)]
        return answer if sum(map(len, answer)) < ANSWER_BYTES_MAX else None

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
            if await self._run(partial(self._ledger.read_record, key)) is None:
                return True  # it has been deleted since
            place = f"after {place}"  # this one can be read: others that cannot be named
        except DamagedData:
            if await self._write(partial(self._ledger.mend_from_memory, key)):
                log.warning("mended from memory,record=%s", place)
                return True
            if key[:1] in _WITH_HEIGHT and await self._mend(int.from_bytes(key[1:9], "big")):
                return True
        if key not in self._told and len(self._told) < TOLD_MAX:
            self._told.add(key)
            log.error(
                "damaged, and not to be had from a peer,record=%s; stop this node and run "
                "`lowu doctor --full --repair`, which gives it the chain of a sound one",
                place,
            )
        return False


def _decode_receipts(data: bytes) -> tuple[bytes, ...]:
    try:
        receipts = decode_list(data)
    except (ValueError, TypeError) as error:
        raise BadInput("malformed receipts") from error
    if not all(isinstance(item, bytes) for item in receipts):
        raise BadInput("malformed receipts")
    return receipts
