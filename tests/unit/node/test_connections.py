"""Places for connections, and the division of descriptors (N-F5, N-F6)."""

import os
import resource
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from lowu.node.errors import BadInput
from lowu.node.limits import descriptors
from lowu.node.limits.connections import (
    ConnectionTable,
    GatedListener,
    Pace,
    WatchedStream,
    has_left,
    read_source,
)
from lowu.node.limits.descriptors import DescriptorBudget, divide, raise_limit


class Crowd:
    """Connections that hold places until they are told to leave, or are evicted."""

    def __init__(self, nursery, limit):
        self.nursery, self.table = nursery, ConnectionTable(limit)
        self.places, self.gone = {}, []

    async def come(self, name, source="a", *, is_waiting=True):
        self.nursery.start_soon(self._stay, name, source, is_waiting)
        await trio.testing.wait_all_tasks_blocked()

    async def _stay(self, name, source, is_waiting):
        try:
            with self.table.hold(source) as place:
                self.places[name] = place
                if is_waiting:
                    place.begin_wait()
                await trio.sleep_forever()
        except BadInput:
            self.gone.append(f"{name} refused")
        else:
            self.gone.append(name)


@pytest.fixture
async def crowd(nursery):
    return Crowd(nursery, 3)


async def test_the_one_that_waited_longest_makes_way(crowd):
    for name in ("one", "two", "three"):
        await crowd.come(name)
    crowd.places["one"].begin_wait()  # it said something
    assert crowd.table.is_full
    await crowd.come("four")
    await crowd.come("five")
    assert crowd.gone == ["two", "three"]


async def test_a_source_pushes_out_its_own(crowd):
    await crowd.come("member", "b")
    await crowd.come("flood 1")
    await crowd.come("flood 2")
    for number in range(3, 20):
        await crowd.come(f"flood {number}")
    assert "member" not in crowd.gone and len(crowd.gone) == 17


async def test_who_is_being_served_stays(crowd):
    await crowd.come("served 1", is_waiting=False)
    await crowd.come("served 2", is_waiting=False)
    await crowd.come("idle")
    await crowd.come("served 3", is_waiting=False)
    await crowd.come("too many")
    assert crowd.gone == ["idle", "too many refused"]


async def test_a_place_is_given_back(nursery):
    table = ConnectionTable(1)
    for _ in range(3):
        with table.hold("a") as place:
            assert table.is_full
        place.begin_wait()  # too late to have an effect
        assert not table.is_full and not table._counts


async def test_turns_come_at_a_bounded_rate(autojump_clock):
    pace = Pace(10.0, 5)
    await trio.sleep(100)
    begun_s = trio.current_time()
    for _ in range(5):
        await pace.turn()
    assert trio.current_time() == begun_s, "a burst is free"
    for _ in range(20):
        await pace.turn()
    assert trio.current_time() == pytest.approx(begun_s + 2.0)


async def test_a_gate_is_passed_before_a_connection_is_taken():
    [inner] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    opened = trio.Event()
    async with GatedListener(inner, opened.wait) as listener:
        near = await trio.open_tcp_stream("127.0.0.1", inner.socket.getsockname()[1])
        with trio.move_on_after(0) as impatient:
            await listener.accept()
        assert impatient.cancelled_caught
        opened.set()
        async with near, await listener.accept() as far:
            assert read_source(far) == "127.0.0.1"
        assert read_source(far) == ""


async def test_a_stream_tells_when_it_waits_for_the_other_end():
    [inner] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    near = await trio.open_tcp_stream("127.0.0.1", inner.socket.getsockname()[1])
    table = ConnectionTable(1)
    async with near, inner, await inner.accept() as far:
        with table.hold("a") as place:
            watched = WatchedStream(far, place)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watched.receive_some)
                await trio.testing.wait_all_tasks_blocked()
                assert place.is_waiting
                await near.send_all(b"x")
            assert not place.is_waiting
            with trio.move_on_after(0.05) as unread:
                await watched.send_all(bytes(50_000_000))
            assert unread.cancelled_caught and not place.is_waiting
            with trio.move_on_after(0):
                await watched.wait_send_all_might_not_block()
            await watched.send_eof()
            await watched.aclose()


# --- descriptors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [400, 512, 1_024, 4_096, 20_000])
@pytest.mark.parametrize("members", [1, 4, 13])
def test_the_parts_fit_the_whole(limit, members):
    """N-F5: the shares of clients, strangers and RocksDB leave the node what it needs."""
    found = divide(limit, members)
    taken = found.rocksdb_files + found.entrants + found.rpc_connections
    fixed = descriptors.RESERVED + descriptors.DESCRIPTORS_PER_MEMBER * members
    assert taken + fixed <= limit
    assert found.rocksdb_files >= 64 and found.entrants >= 32 and found.rpc_connections >= 64


def test_with_enough_all_have_the_most():
    assert divide(descriptors.WANTED, 100) == DescriptorBudget()


def test_too_little_says_what_to_do():
    with pytest.raises(descriptors.ConfigError, match=r"may open 256 files .*\(`ulimit -Hn 268`"):
        divide(256, 4)


@pytest.mark.parametrize(
    ("limits", "expected", "is_set"),
    [
        ((256, 1_024), 1_024, (1_024, 1_024)),
        ((256, 1 << 20), 4_096, (4_096, 1 << 20)),
        ((256, resource.RLIM_INFINITY), 4_096, (4_096, resource.RLIM_INFINITY)),
        ((20_000, 20_000), 20_000, None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 4_096, None),
    ],
)
def test_the_soft_limit_is_raised(monkeypatch, limits, expected, is_set):
    """N-F5: a shell's `ulimit -n 1024` is a soft limit, not the machine's."""
    now, calls = list(limits), []

    def set_limit(kind, wanted):
        calls.append(wanted)
        now[:] = wanted

    monkeypatch.setattr(resource, "getrlimit", lambda kind: tuple(now))
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    assert raise_limit() == expected
    assert calls == ([is_set] if is_set else [])


def test_a_limit_that_cannot_be_raised_is_what_there_is(monkeypatch):
    def refuse(kind, wanted):
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (256, 1_024))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raise_limit() == 256


async def test_a_client_that_has_closed_is_noticed(nursery):
    """Otherwise its calls would run for nobody, up to half a minute. Its data stays unread."""
    accepted = trio.Event()
    streams = []

    async def handle(stream):
        streams.append(stream)
        accepted.set()
        await trio.sleep_forever()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, handle, [listener])
    client = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
    await accepted.wait()
    (stream,) = streams
    assert not has_left(stream)
    await client.send_all(b"x")
    assert not has_left(stream) and await stream.receive_some() == b"x"
    await client.aclose()
    await trio.lowlevel.wait_readable(stream.socket)
    assert has_left(stream)
    await stream.aclose()
    assert has_left(stream)


def test_a_descriptor_that_was_closed_or_reused_meanwhile_is_of_a_client_that_has_left():
    """A thread checks it while the event loop closes it: the error crashed the node."""
    with open(os.devnull, "rb") as file:
        number = file.fileno()
        stream = SimpleNamespace(socket=SimpleNamespace(fileno=lambda: number))
        assert has_left(stream), "no socket"
    assert has_left(stream), "nothing"
