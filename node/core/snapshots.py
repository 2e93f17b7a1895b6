"""A state instead of blocks: what a node offers of it, and how another one fetches it.

A node that is far behind asks its peers for the newest state that they have pinned. It checks the
block of it by a chain of proofs from block 0: a barrier's header has the digest of the group after
it, and the validators before have signed that. The state is the one that peers of more than f
weight of those validators have, so that one of them is honest; its chunks then come from any of
them. If that fails, blocks are fetched as ever.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import trio

from lowu.consensus.certificates import MessageVerifier
from lowu.consensus.codec import decode_commit_certificate, encode_commit_certificate
from lowu.consensus.epochs import Epochs
from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import CommitCertificate
from lowu.consensus.validators import ValidatorSet
from lowu.node.chain.block import Header, decode_header, encode_header, hash_header
from lowu.node.chain.roster import decode_roster, encode_roster
from lowu.node.core.scheduler import Run, Scheduler, verify_sealed
from lowu.node.crypto import keccak256
from lowu.node.errors import BadInput, BlockNotKept, DamagedData, LinkLost
from lowu.node.execution.evm import BLOCK_HASHES_MAX
from lowu.node.gateway.framing import ITEMS_MAX
from lowu.node.gateway.gateway import Gateway
from lowu.node.gateway.requests import ChunkRequest, PeerRequest, SnapshotRequest
from lowu.node.ledger.ledger import Ledger
from lowu.node.ledger.state_import import RosterChange, SnapshotBlock
from lowu.node.ledger.state_snapshot import (
    CHUNK_BYTES,
    Manifest,
    PinnedState,
    decode_chunk,
    decode_manifest,
    digest_rosters,
    encode_manifest,
)

OFFERS_S = 30.0
"""How long a node waits for equal offers: peers may have to read their state first."""
LINKING_S = 5.0
"""How long more peers may link up and tell their heights, at a start."""
ASK_AGAIN_S = 0.5
FIXED_ITEMS = 4
"""Items of an offer: its manifest, its block's header and certificate, the number of changes."""
OFFER_ITEMS_MAX = ITEMS_MAX - 8
ITEM_BYTES_MAX = 64 * 1024
"""A header, certificate or group of the most validators has less than a third of it."""
FETCHERS_MAX = 4
"""Peers that chunks are asked of at once."""
CHUNK_IN_BLOCKS = 2
"""Blocks that are executed in the time in which a chunk is loaded, about."""
ROOM_OF_STATE = 3
"""Its chunks are written, then moved, while the own state is not yet gone from the disk."""
ROOM_BYTES = 64 * 1024 * 1024
"""Room for the engine's logs besides."""
RETRY_S = 120.0
"""How long no state is asked for after that failed; twice as long for each load that had begun."""
FAILURES_MAX = 8

log = logging.getLogger("SYNC")


class SnapshotServer:
    """Offers the states that a ledger has pinned."""

    def __init__(self, ledger: Ledger, run: Run) -> None:
        self._ledger = ledger
        self._run = run
        self._reading = trio.Lock()
        self._wanted = trio.Event()
        self._offers: list[tuple[PinnedState, list[bytes | int] | None]] = []
        """The last states that were read, with what is answered: a peer may ask without end."""
        self._damaged: PinnedState | None = None
        """A state that could not be read as a whole, or whose blocks could not."""

    async def run(self) -> None:
        """Read the newest pinned state whenever somebody has asked for it first."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            pinned = self._ledger.pinned[-1:]
            if not pinned or any(item is pinned[0] for item, _ in self._offers):
                continue
            if pinned[0] is self._damaged:
                continue
            try:
                manifest = await self._run(pinned[0].build_manifest)
                offer = self._encode(manifest)
            except (BlockNotKept, DamagedData):
                log.exception("state damaged, and not offered,height=%d", pinned[0].head.number)
                self._damaged = pinned[0]
                continue
            fitting = offer if len(offer) < OFFER_ITEMS_MAX else None
            self._offers = [*self._offers, (pinned[0], fitting)][-2:]
            log.info("state pinned,height=%d,chunks=%d", manifest.head.number, len(manifest.chunks))

    def answer_offer(self) -> list[bytes | int] | None:
        """Return the newest state that is pinned, with its proof; None if it is not ready."""
        pinned = self._ledger.pinned[-1:]
        if not pinned:
            return None
        for item, offer in self._offers:
            if item is pinned[0]:
                return offer
        self._wanted.set()
        return None

    async def answer_chunk(self, request: ChunkRequest) -> bytes | None:
        """Return a chunk; None if it is not here any more, or damaged.

        One is read at a time, in the order of the requests; a peer waits for its own before the
        next one is looked at.
        """
        for item, _ in self._offers:
            if item.head.number != request.height:
                continue
            async with self._reading:
                try:
                    return await self._run(partial(item.read_chunk, request.place))
                except DamagedData:
                    log.exception("chunk damaged,height=%d", request.height)
        return None

    def _encode(self, manifest: Manifest) -> list[bytes | int]:
        """Return a flat list: manifest, block, number of changes, each change, headers below."""
        ledger, number = self._ledger, manifest.head.number
        changes: list[bytes] = []
        for first_height, roster in ledger.rosters[1:]:
            if first_height <= number + 1:
                changes += (*_encode_sealed(ledger, first_height - 1), encode_roster(roster))
        below: list[bytes] = []
        for height in range(number - 1, max(0, number - BLOCK_HASHES_MAX - 1), -1):
            below += _encode_sealed(ledger, height)
        block = _encode_sealed(ledger, number)
        return [encode_manifest(manifest), *block, len(changes) // 3, *changes, *below]


def _encode_sealed(ledger: Ledger, number: int) -> list[bytes]:
    header, certificate = ledger.header(number), ledger.certificate(number)
    return [encode_header(header), encode_commit_certificate(certificate)]


@dataclass(slots=True)
class _Offer:
    """A state that peers have."""

    manifest: Manifest
    block: SnapshotBlock
    validators: ValidatorSet
    """Those of the height above the block."""
    peers: set[bytes] = field(default_factory=set)

    @property
    def is_vouched(self) -> bool:
        """Whether an honest validator is among those who have it."""
        found = map(self.validators.index_of, self.peers)
        return self.validators.has_honest([index for index in found if index is not None])


class SnapshotClient:
    """Replaces a ledger's state by that of its peers."""

    def __init__(
        self,
        validators: ValidatorSet,
        ledger: Ledger,
        gateway: Gateway,
        scheduler: Scheduler,
        verifier: MessageVerifier,
        run: Run,
        blocks_behind: int,
    ) -> None:
        """Take the parts; states are worth it that are so many blocks above the head.

        `validators` are those of block 0.
        """
        self._validators = validators
        self._ledger = ledger
        self._gateway = gateway
        self._scheduler = scheduler
        self._verifier = verifier
        self._run = run
        self._blocks_behind = blocks_behind
        self._not_before_s = 0.0
        self._failures = 0
        """Loads that had begun, and failed."""
        self._gone_at = -1
        """The head above which peers keep no block any more. Then no state is too large."""
        self.on_loaded: Callable[[int], None] = lambda height: None
        """Told of the height of a state that was loaded."""

    def is_due(self, highest: int) -> bool:
        """Whether to look for a state, if a peer is at this height."""
        is_far = highest - self._ledger.head.number >= self._blocks_behind > 0
        return is_far and trio.current_time() >= self._not_before_s

    def note_blocks_gone(self) -> None:
        """Note that peers do not keep the block above the head any more."""
        if self._gone_at == self._ledger.head.number:
            return
        self._gone_at = self._ledger.head.number
        if not self._failures:
            self._not_before_s = 0.0

    async def fetch(self, list_peers: Callable[[], Sequence[bytes]]) -> SnapshotBlock | None:
        """Load the newest state that enough peers have; return its block, None if none was.

        `list_peers` returns the peers that are ahead now.
        """
        offer = await self._find_offer(list_peers)
        if offer is None:
            self._not_before_s = trio.current_time() + RETRY_S
            log.info("no state to load: fetching blocks,peers=%d", len(list_peers()))
            return None
        log.info(
            "loading a state,height=%d,chunks=%d,peers=%d",
            offer.block.head.number,
            len(offer.manifest.chunks),
            len(offer.peers),
        )
        for node_id in sorted(offer.peers):  # nothing is given up before somebody gives something
            if await self._fetch_chunk(node_id, offer, 0) is not None:
                break
        else:
            self._not_before_s = trio.current_time() + RETRY_S
            return None
        async with self._scheduler.lock:
            await self._run(self._ledger.drop_import)
            if offer.block.head.number - self._ledger.head.number < self._blocks_behind:
                log.info("state not loaded: blocks have brought the chain near it meanwhile")
                return None
            reason = self._find_obstacle(offer) or await self._load(offer)
            if reason:
                await self._run(self._ledger.drop_import)
                self._failures += 1
                delay_s = RETRY_S * 2 ** min(self._failures, FAILURES_MAX)
                self._not_before_s = trio.current_time() + delay_s
                height = offer.block.head.number
                log.warning("state not loaded,height=%d,reason=%s", height, reason)
                return None
            await self._run(lambda: self._ledger.end_import(offer.block))
            self._scheduler.forget()
            self.on_loaded(offer.block.head.number)
        return offer.block

    # --- which state --------------------------------------------------------------------------

    async def _find_offer(self, list_peers: Callable[[], Sequence[bytes]]) -> _Offer | None:
        offers: dict[bytes, _Offer] = {}
        refused: set[bytes] = set()
        few_until_s = trio.current_time() + LINKING_S
        with trio.move_on_after(OFFERS_S):
            while True:
                peers = list_peers()
                async with trio.open_nursery() as nursery:
                    for node_id in peers:
                        if node_id not in refused:
                            nursery.start_soon(self._ask, node_id, offers, refused)
                vouched = [item for item in offers.values() if item.is_vouched]
                if vouched:
                    return max(vouched, key=lambda item: item.block.head.number)
                if refused >= set(peers) and trio.current_time() >= few_until_s:
                    return None
                await trio.sleep(ASK_AGAIN_S)
        return None

    async def _ask(self, node_id: bytes, offers: dict[bytes, _Offer], refused: set[bytes]) -> None:
        try:
            answer = await self._request(node_id, SnapshotRequest())
        except BadInput:
            refused.add(node_id)
            return
        if answer is None:
            return
        try:
            offer = await self._run(partial(self._check, answer))
        except BadInput as error:
            refused.add(node_id)
            self._gateway.ban(node_id, f"snapshot: {error}")
            return
        head = self._ledger.head.number
        worth = 0 if self._gone_at == head else CHUNK_IN_BLOCKS * len(offer.manifest.chunks)
        if offer.block.head.number - head < max(self._blocks_behind, worth):
            refused.add(node_id)
            return
        for other in offers.values():
            other.peers.discard(node_id)
        offers.setdefault(offer.manifest.digest, offer).peers.add(node_id)

    async def _request(self, node_id: bytes, request: PeerRequest) -> object:
        """Ask a peer; again for a while if a link is lost, as one is where both sides dial."""
        until_s = trio.current_time() + LINKING_S
        while True:
            try:
                return await self._gateway.request(node_id, request)
            except LinkLost:
                if trio.current_time() >= until_s:
                    raise
            await trio.sleep(ASK_AGAIN_S)

    def _check(self, answer: object) -> _Offer:
        """Return what a peer offers, with its block, its groups and the headers below proven.

        Nothing is decoded before its size is bounded, and nothing after the first flaw.
        """
        if not isinstance(answer, list) or len(answer) < FIXED_ITEMS:
            raise BadInput("an offer is a list")
        manifest_data, header_data, certificate_data, count, *rest = answer
        if type(count) is not int or not 0 <= 3 * count <= len(rest):
            raise BadInput("malformed offer of a state")
        if not isinstance(manifest_data, bytes):
            raise BadInput("malformed offer of a state")
        manifest = decode_manifest(manifest_data)
        verifier = replace(self._verifier, epochs=Epochs(self._validators))
        block = _decode_sealed(header_data, certificate_data)
        if (block[0].number, block[0].hash) != (manifest.head.number, manifest.block_hash):
            raise BadInput("the manifest is of another block")
        changes = [
            _check_change(rest[at : at + 3], verifier, block[0].number)
            for at in range(0, 3 * count, 3)
        ]
        rosters = [(item.header.number + 1, item.roster) for item in changes]
        if digest_rosters([self._ledger.rosters[0], *rosters]) != manifest.rosters:
            raise BadInput("the groups are not those of the manifest")
        verify_sealed(verifier, *block)
        below = _check_below(block[0], rest[3 * count :], verifier)
        found = SnapshotBlock(*block, manifest.head, changes, below)
        return _Offer(manifest, found, verifier.epochs.latest.validators)

    # --- its chunks ---------------------------------------------------------------------------

    def _find_obstacle(self, offer: _Offer) -> str:
        """Return why a state cannot be loaded now; "" if nothing stands against it."""
        needed = ROOM_OF_STATE * len(offer.manifest.chunks) * CHUNK_BYTES + ROOM_BYTES
        free = self._ledger.free_bytes
        if free < needed:
            mebibytes = f"{free // 1024**2} MiB left, and {needed // 1024**2} may be needed"
            return f"the disk has {mebibytes}: make room on it"
        return ""

    async def _load(self, offer: _Offer) -> str:
        """Fetch, write and read again all chunks; return why that failed, "" if it did not."""
        left = list(range(len(offer.manifest.chunks)))[::-1]
        done = entries = 0
        writing = trio.Lock()

        async def work(node_id: bytes) -> None:
            nonlocal done, entries
            while left:
                place = left.pop()
                data = await self._fetch_chunk(node_id, offer, place)
                if data is None:
                    left.append(place)
                    return
                chunk = decode_chunk(data)
                async with writing:
                    await self._run(partial(self._ledger.import_state, chunk))
                done += 1
                entries += len(chunk)

        async with trio.open_nursery() as nursery:
            for node_id in sorted(offer.peers)[:FETCHERS_MAX]:
                nursery.start_soon(work, node_id)
        for node_id in sorted(offer.peers):  # what failed at one may be at another
            await work(node_id)
        if done < len(offer.manifest.chunks):
            return f"{len(offer.manifest.chunks) - done} chunks were not to be had"
        try:
            await self._run(partial(self._ledger.check_import, entries))
        except DamagedData as error:
            return str(error)
        return ""

    async def _fetch_chunk(self, node_id: bytes, offer: _Offer, place: int) -> bytes | None:
        """Return a chunk from a peer; None if it does not give it."""
        request = ChunkRequest(offer.block.head.number, place)
        try:
            answer = await self._request(node_id, request)
        except BadInput as error:
            log.info("no chunk,peer=%s,reason=%s", node_id.hex()[:16], error)
            return None
        if answer is None:
            return None
        if not isinstance(answer, bytes) or keccak256(answer) != offer.manifest.chunks[place]:
            self._gateway.ban(node_id, "snapshot: a chunk does not fit its digest")
            return None
        return answer


def _decode_sealed(header: object, certificate: object) -> tuple[Header, CommitCertificate]:
    return decode_header(_bounded(header)), _decode_certificate(certificate)


def _decode_certificate(data: object) -> CommitCertificate:
    try:
        return decode_commit_certificate(_bounded(data))
    except (InvalidMessage, ValueError) as error:
        raise BadInput(f"malformed certificate: {error}") from error


def _bounded(item: object) -> bytes:
    if not isinstance(item, bytes) or len(item) > ITEM_BYTES_MAX:
        raise BadInput("malformed or too large item in the offer of a state")
    return item


def _check_change(item: list[object], verifier: MessageVerifier, height: int) -> RosterChange:
    """Check a change of the group by those before it; the verifier goes on with those after."""
    header, certificate = _decode_sealed(item[0], item[1])
    latest = verifier.epochs.latest
    if not latest.first_height <= header.number <= height:
        raise BadInput("changes of the group out of order, or above the block")
    verify_sealed(verifier, header, certificate)
    if keccak256(_bounded(item[2])) != header.extra_data:
        raise BadInput(f"block {header.number} has another group")
    roster = decode_roster(_bounded(item[2]))
    validators = roster.validators(latest.validators.leader_period)
    changed = validators if validators != latest.validators else None
    verifier.epochs.on_commit(header.number, changed)
    return RosterChange(header, certificate, roster)


def _check_below(
    header: Header, rest: list[object], verifier: MessageVerifier
) -> list[tuple[Header, CommitCertificate]]:
    """Check the headers below a block, each by its hash in the one above, and what signed them."""
    if len(rest) != 2 * min(header.number - 1, BLOCK_HASHES_MAX):
        raise BadInput("the headers below the block are not all there")
    found = []
    for at in range(0, len(rest), 2):
        data = _bounded(rest[at])
        if hash_header(data) != header.parent_hash:
            raise BadInput(f"another block stands below block {header.number}")
        header = decode_header(data)
        certificate = _decode_certificate(rest[at + 1])
        verify_sealed(verifier, header, certificate)
        found.append((header, certificate))
    return found
