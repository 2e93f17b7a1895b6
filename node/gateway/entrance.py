"""The entrance: connections to the p2p port that have not shown yet whose they are.

Everybody may open one, and all nodes of a network on one machine share an address, so neither
refusals nor limits for each address tell a member from a stranger. What tells them apart is that
a member shows itself within milliseconds. So a newcomer is always let in, and if there is no
place the one that has lasted longest makes way (`node.connections`): with E places and R
newcomers a second, no handshake that takes less than E / R seconds is ever cut off, whoever else
comes. A connection that says nothing costs a descriptor and no more; TLS begins with the first
byte, one step at a time, with the turn of everybody else in between (FIB-186). Links of members
take no place here, and neither does dialling (ADR 12).
"""

from __future__ import annotations

import ssl

import trio

from node.connections import ConnectionTable, GatedListener, Pace, read_source
from node.errors import BadInput
from node.gateway.tls_stream import TlsStream

FIRST_BYTE_S = 5.0
HANDSHAKE_S = 10.0
"""From the first byte on. Short deadlines would not keep places free, the bound does that: they
would have strangers come back, and be paid for, more often."""
NEWCOMERS_PER_S = 200.0
"""A beginning of TLS costs half a millisecond: a flood of them takes a tenth of a core. Measured
in docs/qa/0006-links.md."""
NEWCOMERS_AT_ONCE = 64
"""Without a wait: more than the members of a network that start together."""


class Entrance:
    """At most `places` unauthenticated connections of one node."""

    def __init__(self, places: int) -> None:
        self._table = ConnectionTable(places)
        self._pace = Pace(NEWCOMERS_PER_S, NEWCOMERS_AT_ONCE)
        self._turn = trio.Lock()

    def guard(self, listener: trio.SocketListener) -> GatedListener:
        """Return a listener that takes newcomers at a bounded rate."""
        return GatedListener(listener, self._pace.turn)

    async def receive(self, stream: trio.SocketStream, context: ssl.SSLContext) -> TlsStream:
        """Agree on keys with a newcomer; the caller closes `stream` if that fails.

        Raises:
            BadInput: it said nothing, or took so long that it made way for others.
            trio.TooSlowError: it did not finish in time.
            trio.BrokenResourceError: it is gone, or no member.
        """
        with self._table.hold(read_source(stream)) as place:
            place.begin_wait()
            with trio.move_on_after(FIRST_BYTE_S) as silence:
                await trio.lowlevel.wait_readable(stream.socket)
            if silence.cancelled_caught:
                raise BadInput(f"no byte within {FIRST_BYTE_S:.0f} s")
            with trio.fail_after(HANDSHAKE_S):
                return await TlsStream.negotiate(stream, context, is_server=True, turn=self._turn)
        raise BadInput("no handshake before others needed the place")
