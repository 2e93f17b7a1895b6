"""Links in memory: ordered byte streams with delays, which a fault can break.

Both ends are trio streams, so the gateway's own peers, frames and queues run over them. The
simulation supplies the other side's node id, which TLS would have proved.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import trio

from lowu.node.simulation.costs import Work
from lowu.node.simulation.simulated_machine import Machine
from lowu.node.topology.link_shape import LinkShape

RELAYS = "relays"
"""The process of all relays, on a machine."""
DELAY_S_MAX = (0.002, 0.02, 0.2)


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


class Link:
    """Two ends, with a delay for each chunk of bytes."""

    def __init__(
        self,
        random: Random,
        on_bytes: Callable[[int, bytes], None],
        delay_s_max: float | None = None,
        *,
        grain_s: float = 0.0,
        carriers: Carriers | None = None,
    ) -> None:
        """Draw the link's greatest delay, unless it is given.

        With a grain, arrivals are put off to its next multiple: the bytes of many links then
        arrive at one time, and the whole network needs far fewer steps of the scheduler.
        """
        self._random = random
        self._delay_s_max = random.choice(DELAY_S_MAX) if delay_s_max is None else delay_s_max
        self._grain_s = grain_s
        self.carriers = carriers
        self._on_bytes = on_bytes
        self.delay_s_min = 0.0
        self.is_broken = False
        self.shapes: list[tuple[LinkShape, ...]] = [(), ()]
        """How bytes travel from each side; several shapes add up."""
        self.origin_s = 0.0
        """When the traces of shapes begin."""
        self.is_silent = [False, False]
        """Whether what a side sends is held back, as in a cut cable."""
        self._free_s = [0.0, 0.0]
        """When all that each side has sent has left."""
        self.ends = (End(self, 0), End(self, 1))

    def carry(self, side: int, data: bytes) -> float:
        """Note bytes in transit; return their arrival time."""
        self._on_bytes(side, data)
        delay_s = self.delay_s_min + self._random.random() * self._delay_s_max
        shapes, leaves_s = self.shapes[side], trio.current_time()
        if shapes:
            at_s = leaves_s - self.origin_s
            taken_s = sum(shape.transmission_s(len(data)) for shape in shapes)
            leaves_s = self._free_s[side] = max(leaves_s, self._free_s[side]) + taken_s
            delay_s += sum(shape.draw_delay_s(self._random, at_s) for shape in shapes)
        arrival_s = leaves_s + delay_s
        return math.ceil(arrival_s / self._grain_s) * self._grain_s if self._grain_s else arrival_s

    def silence(self, side: int, *, is_silent: bool) -> None:
        """Hold back what a side sends, or let it go, with all that was held."""
        self.is_silent[side] = is_silent
        if not is_silent:
            self.ends[side].let_go()

    def break_off(self) -> None:
        """Break the link: both ends fail from now on."""
        self.is_broken = True
        for end in self.ends:
            end.wake()


class End(trio.abc.Stream):
    """One end of a link."""

    def __init__(self, link: Link, side: int) -> None:
        self._link = link
        self._side = side
        self.arriving: deque[tuple[float, bytes]] = deque()
        self._wait: trio.CancelScope | None = None
        """Where a reader waits; its deadline is when the next bytes arrive."""
        self.is_closed = False
        self._unread: list[bytes] = []
        """What has come, and is not yet read."""
        self._held: list[bytes] = []
        """What was sent while this side was silent."""
        self._last_s = 0.0
        """When the last bytes that this end has sent arrive."""

    def wake(self) -> None:
        """Wake a waiting reader."""
        if self._wait is not None:
            self._wait.cancel()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; they arrive later, in order."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.is_closed:
            raise trio.ClosedResourceError
        if self._link.is_broken:
            raise trio.BrokenResourceError
        sent, carriers = bytes(data), self._link.carriers
        if carriers is None:
            self._dispatch(sent)
        else:
            carriers.send(self._side, len(sent), lambda: self._dispatch(sent))

    def _dispatch(self, data: bytes) -> None:
        """Put bytes on the link, if it is still there."""
        link = self._link
        if link.is_broken:
            return
        if link.is_silent[self._side]:
            self._held.append(data)
            return
        self._last_s = max(self._last_s, link.carry(self._side, data))  # none overtakes another
        other = link.ends[1 - self._side]
        if link.carriers is None:
            other.expect(self._last_s, data)
        else:
            link.carriers.machine.at(self._last_s, lambda: other.arrive(data))

    def arrive(self, data: bytes) -> None:
        """Take bytes from the link; what comes until they are read is read with them."""
        self._unread.append(data)
        carriers = self._link.carriers
        if len(self._unread) == 1 and carriers is not None:
            carriers.receive(self._side, len(data), self._read)

    def _read(self) -> None:
        data = b"".join(self._unread)
        self._unread.clear()
        self.expect(trio.current_time(), data)

    def let_go(self) -> None:
        """Put what was held back on the link."""
        held, self._held = self._held, []
        for data in held:
            self._dispatch(data)

    def expect(self, arrival_s: float, data: bytes) -> None:
        """Let bytes arrive at a time, after those before them."""
        if not self.arriving and self._wait is not None:
            self._wait.deadline = arrival_s
        self.arriving.append((arrival_s, data))

    async def wait_send_all_might_not_block(self) -> None:
        """Return at once: nothing blocks."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return bytes that have arrived; b"" once the other end is closed."""
        await trio.lowlevel.checkpoint_if_cancelled()
        has_waited = False
        while True:
            if self.is_closed:
                raise trio.ClosedResourceError
            if self._link.is_broken:
                raise trio.BrokenResourceError
            if self.arriving and self.arriving[0][0] <= trio.current_time():
                if not has_waited:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                return self._take(max_bytes)
            if not self.arriving and self._link.ends[1 - self._side].is_closed:
                return b""
            arrival_s = self.arriving[0][0] if self.arriving else math.inf
            with trio.CancelScope(deadline=arrival_s) as self._wait:
                await trio.sleep_forever()
            self._wait, has_waited = None, True

    def _take(self, max_bytes: int | None) -> bytes:
        arrival_s, data = self.arriving.popleft()
        if max_bytes is not None and len(data) > max_bytes:
            self.arriving.appendleft((arrival_s, data[max_bytes:]))
            data = data[:max_bytes]
        return data

    async def aclose(self) -> None:
        """Close this end."""
        self.is_closed = True
        self._link.ends[1 - self._side].wake()
        self.wake()
        await trio.lowlevel.checkpoint()
