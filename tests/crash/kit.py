"""A validator with a real database, among three others, and copies of its folder to damage."""

import copy
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from lowu.consensus.types import Domain
from lowu.node.app import open_ledger
from lowu.node.execution.genesis import build_genesis
from lowu.node.ledger import first_start, rocks, vote_trace
from lowu.node.ledger.opening import open_chain
from lowu.node.ledger.rocks import RocksStorage
from lowu.node.ledger.vote_trace import FileTrace
from lowu.node.simulation.stack.vote_watch import VoteWatch
from lowu.node.simulation.virtual_network import open_virtual
from lowu.node.simulation.virtual_time import run_virtual
from lowu.node.topology.network import build_probe
from lowu.testing.networks import load_plan

NAME = "node1"
PLAN = load_plan("dev-4")
BLOCK = build_genesis(PLAN.genesis)
LOG_BLOCK_BYTES = 32_768
"""The engine's log consists of blocks of this size; no record header crosses a block's end."""
LOG_HEADER_BYTES = 7


@dataclass
class Image:
    """A copy of the validator's folder, and the votes it had sent when the copy was made."""

    folder: Path
    watch: VoteWatch

    @property
    def log(self):
        """The newest log of the database."""
        return max((self.folder / "data").glob("*.log"))


@dataclass
class Opened:
    """What a node finds when it starts on a folder."""

    lost: str
    """Why the node abstains; empty if it does not."""
    has_lost: bool
    """Whether a vote that it sent is missing."""
    head: int
    damage: str


def open_image(image, *, is_first_start=False):
    """Open the database of an image as a node does, then close it."""
    ledger = open_chain(
        image.folder / "data",
        lambda storage, lost: open_ledger(
            PLAN.genesis,
            BLOCK,
            storage,
            FileTrace(image.folder / vote_trace.NAME),
            is_first_start=is_first_start,
            lost=lost,
        ),
    )
    try:
        head, records = ledger.head.number, ledger.load_records()
        has_lost = image.watch.has_lost(0, head, records)
        return Opened(ledger.lost_votes, has_lost, head, ledger.damage.first)
    finally:
        ledger.close()


def check_image(image):
    """Check that every sent vote is there, or that the node abstains."""
    opened = open_image(image)
    assert opened.lost or not opened.has_lost, "votes are lost, and it would vote on"
    return opened


def copy_of(image, folder):
    """Return a new copy of an image."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(image.folder, folder)
    return Image(folder, image.watch)


def record_ends(log):
    """Return the end offsets of a log's records."""
    data, at, ends = log.read_bytes(), 0, []
    while at + LOG_HEADER_BYTES <= len(data):
        left = LOG_BLOCK_BYTES - at % LOG_BLOCK_BYTES
        if left < LOG_HEADER_BYTES:
            at += left
            continue
        length = int.from_bytes(data[at + 4 : at + 6], "little")
        if data[at + 6] == 0:
            break
        at += LOG_HEADER_BYTES + length
        ends.append(at)
    return ends


class _Recorder:
    """Copies the validator's folder before and after each of its synced writes."""

    def __init__(self, folder, images):
        self.folder, self.images = folder, images
        self.watch = VoteWatch(Domain(PLAN.genesis.chain_id, PLAN.genesis.group_id))
        self.is_recording = False
        self.points = []

    def take(self, point):
        if self.is_recording:
            target = self.images / f"{len(self.points):04d}"
            shutil.copytree(self.folder, target)
            self.points.append((point, Image(target, copy.deepcopy(self.watch))))

    @contextmanager
    def around(self, owner, what):
        """Take images before and after each write to a storage or a trace."""
        real = owner.write

        def write(*values):
            self.take(f"before the {what}")
            real(*values)
            self.take(f"after the {what}")

        owner.write = write
        yield
        owner.write = real


def make_history(folder, blocks, recorded, buffer_bytes=rocks.WRITE_BUFFER_BYTES):
    """Run four validators; return images of one, the last as a kill would leave the folder."""
    own = folder / "own"
    own.mkdir()
    usual, rocks.WRITE_BUFFER_BYTES = rocks.WRITE_BUFFER_BYTES, buffer_bytes
    storage, votes = RocksStorage(own / "data"), FileTrace(own / vote_trace.NAME)
    rocks.WRITE_BUFFER_BYTES = usual
    recorder = _Recorder(own, folder / "images")

    async def main():
        async with open_virtual(PLAN) as network:
            node = network.nodes[NAME]
            recorder.take_send = node.driver.on_send
            node.driver.on_send = lambda message: recorder.watch.on_send(0, node.ledger, message)
            for number in range(blocks):
                recorder.is_recording = number >= blocks - recorded
                client = network.client(network.plan.nodes[0])
                await client.call("eth_sendRawTransaction", "0x" + build_probe(PLAN).hex())
                while min(item.ledger.head.number for item in network.nodes.values()) <= number:
                    await trio.sleep(0.01)
            recorder.is_recording = True
            recorder.take("at rest")

    around = recorder.around(storage, "database"), recorder.around(votes, "trace")
    with patched_disk(storage, votes), around[0], around[1]:
        run_virtual(1, main)
    storage.close()
    votes.close()
    return recorder.points


@contextmanager
def patched_disk(storage, votes):
    """Give the validator of the next virtual network a real disk."""
    from lowu.node.simulation import virtual_network

    real = virtual_network.VirtualNodes.__init__

    def init(self, *values):
        real(self, *values)
        self._storages[NAME], self._traces[NAME] = storage, votes

    virtual_network.VirtualNodes.__init__ = init
    try:
        yield
    finally:
        virtual_network.VirtualNodes.__init__ = real


def mark_as_new(folder):
    """Write the marker of a node that has never run."""
    (folder / first_start.NAME).write_text(first_start.TEXT)
