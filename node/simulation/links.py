"""Links in memory, with delays, which a fault can break, and their ends as byte streams.

Where the ends are trio streams, the gateway's own peers, frames and queues run over them;
`frame_links` hands whole frames over instead. The simulation supplies the other side's node id,
which TLS would have proved.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Generic, Protocol, TypeVar

import trio

from lowu.node.topology.faults.link_shape import LinkShape

DELAY_S_MAX = (0.002, 0.02, 0.2)


class LinkEnd(Protocol):
    """One end of a link, as the link sees it."""

    def wake(self) -> None:
        """Notice that the link is broken."""


E = TypeVar("E", bound=LinkEnd)


class Link(ABC, Generic[E]):
    """Two ends, with a delay for each chunk of bytes."""

    ends: tuple[E, E]

    def __init__(
        self, random: Random, delay_s_max: float | None = None, *, grain_s: float = 0.0
    ) -> None:
        """Draw the link's greatest delay, unless it is given.

        With a grain, arrivals are put off to its next multiple: the bytes of many links then
        arrive at one time, and the whole network needs far fewer steps of the scheduler.
        """
        self._random = random
        self._delay_s_max = random.choice(DELAY_S_MAX) if delay_s_max is None else delay_s_max
        self._grain_s = grain_s
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
        self._last_s = [0.0, 0.0]
        """When the last bytes of each side arrive."""
        self._held: tuple[list[bytes], list[bytes]] = ([], [])
        """What each side has sent while it was silent."""

    def put(self, side: int, data: bytes) -> None:
        """Put what a side sends on the link, if it is still there."""
        if self.is_broken:
            return
        if self.is_silent[side]:
            self._held[side].append(data)
            return
        arrival_s = max(self._last_s[side], self.carry(side, data))  # none overtakes another
        self._last_s[side] = arrival_s
        self.deliver(side, arrival_s, data)

    @abstractmethod
    def deliver(self, side: int, arrival_s: float, data: bytes) -> None:
        """Let bytes of a side arrive at the other one, at a time."""

    def carry(self, side: int, data: bytes) -> float:
        """Return when bytes arrive that leave now."""
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
            held = self._held[side][:]
            self._held[side].clear()
            for data in held:
                self.put(side, data)

    def break_off(self) -> None:
        """Break the link: both ends fail from now on."""
        self.is_broken = True
        for end in self.ends:
            end.wake()


class StreamLink(Link["End"]):
    """A link whose ends are byte streams."""

    def __init__(self, random: Random, on_bytes: Callable[[int, bytes], None]) -> None:
        """Draw the link's greatest delay; all bytes in transit are told to `on_bytes`."""
        super().__init__(random)
        self._on_bytes = on_bytes
        self.ends = (End(self, 0), End(self, 1))

    def carry(self, side: int, data: bytes) -> float:
        """Tell of bytes that leave now; return when they arrive."""
        self._on_bytes(side, data)
        return super().carry(side, data)

    def deliver(self, side: int, arrival_s: float, data: bytes) -> None:
        """Let the other end have bytes to read from a time on."""
        self.ends[1 - side].expect(arrival_s, data)


class End(trio.abc.Stream):
    """One end of a link, as a byte stream."""

    def __init__(self, link: StreamLink, side: int) -> None:
        self._link = link
        self._side = side
        self.arriving: deque[tuple[float, bytes]] = deque()
        self._wait: trio.CancelScope | None = None
        """Where a reader waits; its deadline is when the next bytes arrive."""
        self.is_closed = False

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
        self._link.put(self._side, bytes(data))

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
