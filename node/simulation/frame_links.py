"""Links of virtual networks: whole frames are handed over, by callbacks rather than by tasks.

A large network has thousands of links. With streams, each has a task at either end that reads and
one that writes; here one task a node takes what has come on all its links, in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from random import Random

import trio

from lowu.node.errors import BadInput
from lowu.node.gateway.framing import FrameKind, decode_frame, encode_frame
from lowu.node.gateway.peer import PING_S, SILENCE_S, Handler
from lowu.node.simulation.agenda import Agenda
from lowu.node.simulation.costs import Work
from lowu.node.simulation.links import Link
from lowu.node.simulation.simulated_machine import Machine

RELAYS = "relays"
"""The process of all relays, on a machine."""

read_frame = lru_cache(maxsize=256)(decode_frame)
"""Nodes send the same bytes to many others."""


@dataclass(frozen=True, slots=True)
class Carriers:
    """Who spends time on the bytes of a link: its two nodes, and the relays if it has some."""

    machine: Machine
    names: tuple[str, str]
    is_relayed: bool

    def send(self, side: int, size: int, done: Callable[[], None]) -> None:
        """Have a node send so many bytes; `done` is called once they have left."""

        def relay() -> None:
            self.machine.charge(RELAYS, Work.RELAY, size, done)

        self.machine.charge(self.names[side], Work.LINK, size, relay if self.is_relayed else done)

    def receive(self, side: int, size: int, done: Callable[[], None]) -> None:
        """Have a node receive bytes; `done` is called once it has them."""
        self.machine.charge(self.names[side], Work.LINK, size, done)


class Reception:
    """What has come for a node on all its links; one task handles it, in order."""

    def __init__(self) -> None:
        self._arrived: deque[tuple[FrameEnd, bytes]] = deque()
        self._wake = trio.Event()

    def take(self, end: FrameEnd, frames: list[bytes]) -> None:
        """Take what has come on a link."""
        self._arrived.extend((end, data) for data in frames)
        self._wake.set()

    async def run(self) -> None:
        """Have the ends of links handle what comes, for ever."""
        while True:
            while self._arrived:
                end, data = self._arrived.popleft()
                await end.handle(data)
            self._wake = trio.Event()
            await self._wake.wait()


class FrameLink(Link["FrameEnd"]):
    """A link between two running nodes."""

    def __init__(
        self,
        random: Random,
        agenda: Agenda,
        nodes: tuple[tuple[bytes, Reception], tuple[bytes, Reception]],
        *,
        delay_s_max: float = 0.0,
        grain_s: float = 0.0,
        carriers: Carriers | None = None,
    ) -> None:
        """Link nodes, each with its node id and reception; the first one counts as dialler."""
        super().__init__(random, delay_s_max, grain_s=grain_s)
        self.agenda = agenda
        self.carriers = carriers
        (first, takes), (second, takes_too) = nodes
        self.ends = (FrameEnd(self, 0, second, takes), FrameEnd(self, 1, first, takes_too))

    def deliver(self, side: int, arrival_s: float, data: bytes) -> None:
        """Hand a frame to the other end at a time."""
        other = self.ends[1 - side]
        self.agenda.at(arrival_s, lambda: other.arrive(data))


class FrameEnd:
    """One end of a link: what a node's gateway has of another node, as `Peer` is elsewhere."""

    def __init__(self, link: FrameLink, side: int, node_id: bytes, reception: Reception) -> None:
        """Make the end of the node on a side, to which the other one is known by its node id."""
        self.node_id = node_id
        self.is_dialer = side == 0
        self.closed = trio.Event()
        self._link = link
        self._side = side
        self._reception = reception
        self._scope = trio.CancelScope()
        self._handle: Handler | None = None
        self._fault: BadInput | None = None
        """Why the peer is to blame for the end of the link."""
        self._heard_s = 0.0
        self._unread: list[bytes] = []
        """What has come, and is not yet read."""
        self._early: list[bytes] = []
        """What came before this node served the link."""

    # --- for the gateway --------------------------------------------------------------------

    def send(self, kind: FrameKind, value: object) -> None:
        """Send a value as a frame."""
        self.send_encoded(kind, encode_frame(kind, value))

    def send_encoded(self, kind: FrameKind, data: bytes) -> None:
        """Send a frame; it leaves once the node has done the work before it."""
        link = self._link
        if link.is_broken:
            return
        if link.carriers is None:
            link.put(self._side, data)
        else:
            link.carriers.send(self._side, len(data), partial(link.put, self._side, data))

    async def run(self, handle: Handler) -> None:
        """Serve the link until it breaks or is closed; `BadInput` if the peer is to blame."""
        self._handle = handle
        self._heard_s = trio.current_time()
        self._reception.take(self, self._early)
        self._early = []
        try:
            with self._scope:
                while trio.current_time() - self._heard_s < SILENCE_S:
                    self.send(FrameKind.PING, 0)
                    await trio.sleep(PING_S)
                self._fault = BadInput(f"silent for {SILENCE_S:.0f} s")
        finally:
            self._link.break_off()
            self.closed.set()
        if self._fault is not None:
            raise self._fault

    def close(self) -> None:
        """End the link soon."""
        self._scope.cancel()

    # --- for the link -----------------------------------------------------------------------

    def wake(self) -> None:
        """Notice that the link is broken."""
        self.close()

    def arrive(self, data: bytes) -> None:
        """Take a frame from the link; what comes until it is read is read with it."""
        self._unread.append(data)
        if len(self._unread) > 1:
            return
        carriers = self._link.carriers
        if carriers is None:
            self._read()
        else:
            carriers.receive(self._side, len(data), self._read)

    def _read(self) -> None:
        frames, self._unread = self._unread, []
        if self._link.is_broken:
            return
        self._heard_s = trio.current_time()
        if self._handle is None:
            self._early += frames
        else:
            self._reception.take(self, frames)

    async def handle(self, data: bytes) -> None:
        """Have the gateway handle a frame, unless the link has ended meanwhile."""
        if self._handle is None or self._link.is_broken or self._fault is not None:
            return
        try:
            frame = read_frame(data)
            if frame.kind is not FrameKind.PING:
                await self._handle(self, frame)
        except BadInput as error:
            self._fault = error
            self.close()
