"""The entrance: connections to the p2p port that have not shown yet whose they are.

Everybody may open one, and all nodes of a network on one machine share an address, so neither
refusals nor limits for each address tell a member from a stranger. What tells them apart is that
a member shows itself within milliseconds. So a newcomer is always let in, and if there is no
place the one that has lasted longest makes way (`lowu.node.limits.connections`): with E places and
R newcomers a second, no handshake that takes less than E / R seconds is ever cut off, whoever else
comes. A connection that says nothing costs a descriptor and no more; TLS begins with the first
byte, one step at a time, with the turn of everybody else in between (FIB-186). Links of members
take no place here, and neither does dialling (ADR 12).
"""

from __future__ import annotations

import ssl

import trio

from lowu.node.errors import BadInput
from lowu.node.gateway.tls_stream import TlsStream
from lowu.node.limits.connections import ConnectionTable, GatedListener, Pace, read_source

GREETING_S = 60.0
"""How long a handshake may take, from the connection on. It is there for what is dead, and long on
purpose: the bound keeps places free, while each stranger that is closed comes back, and is paid
for again."""
NEWCOMERS_PER_S = 100.0
"""To take one and begin TLS costs a millisecond: a flood of them takes a tenth of a core."""
NEWCOMERS_AT_ONCE = 256
"""Without a wait: more than the members of a network that start together, and a quarter of a second
of work, in small steps."""


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
            BadInput: it took so long that it made way for others.
            trio.TooSlowError: it did not finish in time.
            trio.BrokenResourceError: it is gone, or no member.
        """
        with self._table.hold(read_source(stream)) as place:
            place.begin_wait()
            with trio.fail_after(GREETING_S):
                await trio.lowlevel.wait_readable(stream.socket)
                return await TlsStream.negotiate(stream, context, is_server=True, turn=self._turn)
        raise BadInput("no handshake before others needed the place")
