"""The generator against a server whose blocks the test makes: what it sends, and what it notes."""

import json
import time
from contextlib import suppress
from functools import partial

import pytest
import rlp
import trio
from eth_account import Account
from eth_utils.crypto import keccak

from lowu.experiments.actors.light_client import LightClient
from lowu.experiments.load.offered.generator import (
    Generated,
    Generator,
    GeneratorPlan,
    merge_generated,
    split_plan,
)
from lowu.experiments.load.offered.steps import Sender
from lowu.experiments.load.outcomes import Ending, Records

SENDERS = (Sender(b"\1" * 32, 1), Sender(b"\2" * 32, 2))


class Chain:
    """A chain that commits what it accepts when the test says so, behind any number of servers."""

    def __init__(self):
        self.blocks = [[]]
        self.pending = []
        self.known = {}
        self.refusals = 0
        """How many of the next transactions are refused."""
        self.failed = set()

    def commit(self):
        self.blocks.append(self.pending)
        self.pending = []

    def answer(self, call):
        method, params = call["method"], call["params"]
        if method == "eth_blockNumber":
            return {"result": hex(len(self.blocks) - 1)}
        if method == "eth_getBlockByNumber":
            return {"result": {"transactions": self.blocks[int(params[0], 16)]}}
        if method == "eth_getBlockReceipts":
            return {
                "result": [
                    {"transactionHash": item, "status": "0x0" if item in self.failed else "0x1"}
                    for item in self.blocks[int(params[0], 16)]
                ]
            }
        raw = bytes.fromhex(params[0][2:])
        if raw in self.known:
            return {"error": {"code": -32000, "message": "already known"}}
        if self.refusals:
            self.refusals -= 1
            return {"error": {"code": -32000, "message": "the pool is full"}}
        digest = "0x" + keccak(raw).hex()
        self.known[raw] = digest
        self.pending.append(digest)
        return {"result": digest}


def nonces_by_sender(chain):
    """Return the nonces of what a chain knows, by sender, in the order of arrival."""
    found = {}
    for raw in chain.known:
        nonce = int.from_bytes(rlp.decode(raw)[0], "big")
        found.setdefault(Account.recover_transaction(raw), []).append(nonce)
    return found


async def serve(chain, stream, *, is_silent=lambda: False):
    """Answer plain HTTP requests, one after another, until the client leaves."""
    data = b""
    with suppress(trio.BrokenResourceError):
        async with stream:
            while True:
                while b"\r\n\r\n" not in data:
                    more = await stream.receive_some(65_536)
                    if not more:
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                while len(data) < size:
                    data += await stream.receive_some(65_536)
                body, data = json.loads(data[:size]), data[size:]
                while is_silent():
                    await trio.sleep(0.01)
                calls = body if isinstance(body, list) else [body]
                answers = [{"id": call["id"], **chain.answer(call)} for call in calls]
                text = json.dumps(answers if isinstance(body, list) else answers[0]).encode()
                await stream.send_all(
                    b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(text) + text
                )


async def open_server(nursery, chain, **options):
    start = partial(trio.serve_tcp, partial(serve, chain, **options), 0, host="127.0.0.1")
    (listener,) = await nursery.start(start)
    return f"http://127.0.0.1:{listener.socket.getsockname()[1]}"


async def commit_every(chain, seconds):
    while True:
        await trio.sleep(seconds)
        chain.commit()


def plan(urls, due_s, **more):
    return GeneratorPlan(tuple(urls), SENDERS, 5, tuple(due_s), **{"deadline_s": 5.0, **more})


async def generate(chain, due_s, every_s=0.05, **more):
    """Offer to a chain that commits every so often; return the records."""
    async with trio.open_nursery() as nursery:
        urls = [await open_server(nursery, chain) for _ in range(2)]
        if every_s:
            nursery.start_soon(commit_every, chain, every_s)
        generator = Generator(plan(urls, due_s, **more))
        found = await generator.run(time.monotonic())
        nursery.cancel_scope.cancel()
    return found


async def test_everything_is_sent_once_in_the_order_of_nonces_and_ends():
    chain = Chain()
    found = await generate(chain, [n / 500 for n in range(100)])
    assert set(found.records.outcome) == {Ending.COMMITTED}
    assert list(nonces_by_sender(chain).values()) == [list(range(50))] * 2
    assert sum(block.transactions for block in found.blocks) == 100
    for row in range(100):
        assert found.records.ended_s[row] >= found.records.sent_s[row] >= found.records.due_s[row]


async def test_what_is_refused_is_sent_again():
    chain = Chain()
    chain.refusals = 7
    found = await generate(chain, [0.0] * 20)
    assert set(found.records.outcome) == {Ending.COMMITTED}
    assert [sorted(item) for item in nonces_by_sender(chain).values()] == [list(range(10))] * 2


@pytest.mark.parametrize(("refusals", "ending"), [(0, "TIMED_OUT"), (10**9, "REFUSED")])
async def test_every_transaction_ends_at_its_deadline(refusals, ending):
    chain = Chain()
    chain.refusals = refusals
    found = await generate(chain, [0.0, 0.1, 0.2], every_s=0, deadline_s=0.5)
    assert [Ending(item).name for item in found.records.outcome] == [ending] * 3
    assert [round(item, 6) for item in found.records.ended_s] == [0.5, 0.6, 0.7]
    assert found.refusal == ("the pool is full" if refusals else "")
    assert merge_generated([Generated(Records(), []), found]).refusal == found.refusal


async def test_what_was_reverted_is_found():
    chain = Chain()
    async with trio.open_nursery() as nursery:
        url = await open_server(nursery, chain)
        generator = Generator(plan([url], [0.0, 0.0, 0.0]))

        async def fail_second():
            while len(chain.pending) < 3:
                await trio.sleep(0.01)
            chain.failed.add(chain.pending[1])
            chain.commit()

        nursery.start_soon(fail_second)
        found = await generator.run(time.monotonic())
        nursery.cancel_scope.cancel()
    assert sorted(found.records.outcome) == [Ending.COMMITTED, Ending.COMMITTED, Ending.FAILED]


async def test_what_is_committed_before_it_is_answered_is_not_sent_again(monkeypatch):
    """The block was seen before the answer came; the lane kept it, and sent it for ever."""
    monkeypatch.setattr("lowu.experiments.load.offered.endpoints.LOST_S", 0.1)
    chain = Chain()
    take, offered = chain.answer, []

    def answer(call):
        found = take(call)
        if call["method"] == "eth_sendRawTransaction":
            offered.append(call["params"][0])
            chain.commit()
        return found

    chain.answer = answer
    async with trio.open_nursery() as nursery:
        urls = [await open_server(nursery, chain) for _ in range(2)]
        generator = Generator(plan(urls, [n / 50 for n in range(30)] + [1.5]))
        post = LightClient.post

        async def post_slowly(client, body):
            found = await post(client, body)
            if b"sendRaw" in body:
                await trio.sleep(0.1)
            return found

        monkeypatch.setattr(LightClient, "post", post_slowly)
        found = await generator.run(time.monotonic())
        nursery.cancel_scope.cancel()
    assert set(found.records.outcome) == {Ending.COMMITTED}
    assert len(offered) == 31 and not any(lane.accepted for lane in generator._lanes)


@pytest.mark.parametrize("receipts", [5, []], ids=["no list", "of others only"])
async def test_receipts_that_cannot_be_read_are_counted(receipts):
    chain = Chain()
    answer = chain.answer
    chain.answer = lambda call: (
        {"result": receipts} if "Receipt" in call["method"] else answer(call)
    )
    found = await generate(chain, [0.0] * 7)
    assert found.unread == 7
    assert (await generate(Chain(), [0.0] * 7)).unread == 0


async def test_a_node_that_falls_silent_is_left_and_nothing_is_lost(monkeypatch):
    monkeypatch.setattr("lowu.experiments.load.offered.endpoints.ANSWER_S", 0.2)
    chain, silent = Chain(), []
    async with trio.open_nursery() as nursery:
        quiet = await open_server(nursery, chain, is_silent=lambda: bool(silent))
        url = await open_server(nursery, chain)
        nursery.start_soon(commit_every, chain, 0.05)
        generator = Generator(plan([quiet, url], [n / 100 for n in range(100)]))

        async def fall_silent():
            await trio.sleep(0.3)
            silent.append(True)

        nursery.start_soon(fall_silent)
        found = await generator.run(time.monotonic())
        nursery.cancel_scope.cancel()
    assert set(found.records.outcome) == {Ending.COMMITTED}
    assert len(chain.known) == 100


@pytest.mark.parametrize("is_silent", [False, True], ids=["crash", "without a word"])
async def test_what_a_node_accepted_and_lost_is_sent_again(monkeypatch, is_silent):
    """A node that is killed loses its pool: all later ones of the account would wait for ever."""
    monkeypatch.setattr("lowu.experiments.load.offered.endpoints.LOST_S", 0.3)
    chain = Chain()
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def serve_until_crash(*, task_status):
            with scope:
                async with trio.open_nursery() as inner:
                    task_status.started(await open_server(inner, chain))

        first = await nursery.start(serve_until_crash)
        second = await open_server(nursery, chain)
        generator = Generator(plan([first, second], [0.0] * 30))

        async def lose():
            while len(chain.pending) < 30:
                await trio.sleep(0.01)
            lost = [raw for raw, digest in chain.known.items() if digest in chain.pending[:10]]
            for raw in lost:
                chain.pending.remove(chain.known.pop(raw))
            if not is_silent:
                scope.cancel()
            await commit_every(chain, 0.05)

        nursery.start_soon(lose)
        found = await generator.run(time.monotonic())
        nursery.cancel_scope.cancel()
    assert list(found.records.outcome) == [Ending.COMMITTED] * 30
    assert len(chain.known) == 30
    assert all(not lane.accepted for lane in generator._lanes)


async def test_a_closed_loop_waits_for_each_answer():
    chain = Chain()
    found = await generate(chain, [], clients=3, closed_s=0.6)
    records = found.records
    assert set(records.outcome) == {Ending.COMMITTED} and len(records) >= 6
    for row in range(len(records)):  # no more than three are ever under way
        at_s = records.sent_s[row]
        under_way = sum(
            records.sent_s[other] <= at_s < records.ended_s[other] for other in range(len(records))
        )
        assert under_way <= 3


async def test_an_interrupted_run_keeps_what_it_found():
    chain = Chain()
    async with trio.open_nursery() as nursery:
        url = await open_server(nursery, chain)
        generator = Generator(plan([url], [0.0, 0.0, 60.0]))

        async def stop_then():
            while len(chain.pending) < 2:
                await trio.sleep(0.01)
            chain.commit()
            while generator.take_status().done < 2:
                await trio.sleep(0.01)
            generator.stop()

        nursery.start_soon(stop_then)
        found = await generator.run(time.monotonic())
        nursery.cancel_scope.cancel()
    assert list(found.records.outcome) == [Ending.COMMITTED] * 2


async def test_several_generators_take_turns_and_their_results_are_one():
    chain, due = Chain(), [n / 100 for n in range(50)]
    async with trio.open_nursery() as nursery:
        urls = [await open_server(nursery, chain) for _ in range(2)]
        nursery.start_soon(commit_every, chain, 0.05)
        parts = split_plan(plan(urls, due), 2)
        generators = [Generator(part) for part in parts]
        begin_s = time.monotonic()
        async with trio.open_nursery() as running:
            for generator in generators:
                running.start_soon(generator.run, begin_s)
        nursery.cancel_scope.cancel()
    found = merge_generated([item.found for item in generators])
    assert list(found.records.due_s) == due
    assert set(found.records.outcome) == {Ending.COMMITTED}
    assert sum(block.transactions for block in found.blocks) == 50
    assert list(nonces_by_sender(chain).values()) == [list(range(25))] * 2


def test_each_generator_needs_an_account():
    with pytest.raises(ValueError, match="3 generators need as many accounts that send, not 2"):
        split_plan(plan(["http://127.0.0.1:1"], [0.0]), 3)
