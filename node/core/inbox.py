"""The replica's inbox: one bounded queue of inputs, and notes of which only the latest counts.

It exists before the parts that put inputs into it, and before the driver, which takes them out.
"""

from __future__ import annotations

import trio

from lowu.consensus.inputs import Input, LinksChanged, PendingChanged

INPUTS_MAX = 1024


class Inbox:
    """Inputs of one replica on their way to it."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Input](INPUTS_MAX)
        self._notes: dict[type, PendingChanged | LinksChanged] = {}
        self._noted = trio.Event()
        self._has_pending = False

    async def deliver(self, event: Input) -> None:
        """Queue an input; waits while the queue is full."""
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            await self._send.send(event)

    async def receive(self) -> Input:
        """Return the next input, once there is one."""
        return await self._receive.receive()

    def receive_nowait(self) -> Input:
        """Return the next input; `trio.WouldBlock` if there is none."""
        return self._receive.receive_nowait()

    def note_pending(self, has_pending: bool) -> None:
        """Note whether transactions wait."""
        if has_pending is not self._has_pending:
            self._has_pending = has_pending
            self.note(PendingChanged(has_pending))

    def note(self, event: PendingChanged | LinksChanged) -> None:
        """Note a change; it replaces an earlier one of its kind that is not queued yet."""
        self._notes[type(event)] = event
        self._noted.set()

    async def deliver_notes(self) -> None:
        """Queue the latest notes for ever; parts that note something never wait."""
        while True:
            await self._noted.wait()
            self._noted = trio.Event()
            while self._notes:
                await self.deliver(self._notes.pop(next(iter(self._notes))))
