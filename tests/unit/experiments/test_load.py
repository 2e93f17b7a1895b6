"""Load: its networks, registrations, the light client, percentiles, rivals' genesis."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from lowu.consensus.window import compute_window_max
from lowu.experiments.actors.light_client import LightClient, render_calls
from lowu.experiments.load.offering import LoadError, build_network, offer, sign_registrations
from lowu.measuring.bench_network import Shares, plan_load
from lowu.measuring.bench_report import percentile
from lowu.measuring.rivals import list_accounts, parse_rivals
from lowu.node.chain.transaction import decode_transaction
from lowu.node.client import ClientError
from lowu.node.errors import ConfigError
from lowu.node.execution.genesis import build_genesis
from lowu.node.topology.plan import build_plan
from lowu.node.topology.spec import parse_spec

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
KEY = b"\x11" * 32


def test_networks_for_load_span_the_boundary():
    spec = parse_spec(build_network(7, block_tx_count_limit=50), Path("load"))
    assert len(spec.nodes) == 7 and spec.settings.block_tx_count_limit == 50
    sides = [item.side.name for item in spec.institutions]
    assert (sides.count("SZ"), sides.count("HK")) == (4, 3)


def test_a_network_of_many_nodes_has_as_many_blocks_under_way_as_they_can():
    """With the default of 50, networks of 48 nodes and more did not start."""
    plan = build_plan(parse_spec(build_network(100), Path("load")))
    window = plan.node_config(plan.nodes[0], Path()).pipeline_size
    assert window == compute_window_max(100) < 50
    with pytest.raises(ConfigError, match="more than 128"):
        parse_spec(build_network(129), Path("load"))


def test_registrations_have_their_nonces_in_order():
    issuer = sign_registrations(KEY, 20_200, 3, first_nonce=5)
    found = [decode_transaction(bytes.fromhex(raw[2:])) for raw in issuer.raws]
    assert [item.nonce for item in found] == [5, 6, 7]
    assert {"0x" + item.sender.hex() for item in found} == {issuer.address.lower()}
    shares = Shares(plan_load(4), issuers=2)
    first, second = shares.take(3), shares.take(2)
    assert [(item.first_nonce, len(item.raws)) for item in first + second] == [
        (0, 2), (0, 2), (2, 1), (2, 1),
    ]  # fmt: skip
    assert [item.address for item in first] == [item.address for item in second]


@pytest.mark.parametrize(("share", "expected"), [(50, 2), (75, 3), (76, 4), (99.9, 4), (1, 1)])
def test_percentiles_are_values_that_were_measured(share, expected):
    assert percentile([4, 1, 3, 2], share) == expected


def test_rivals_get_the_same_genesis():
    plan = plan_load(4)
    accounts = list_accounts(build_genesis(plan.genesis).writes)
    contracts = [item for item in accounts.values() if item["code"]]
    assert len(contracts) == 7 and all(item["storage"] for item in contracts[:1])
    assert parse_rivals("anvil,eth-tester") == ["anvil", "eth-tester"] and parse_rivals("") == []
    with pytest.raises(ConfigError, match="besu"):
        parse_rivals("besu")


async def serve(answers, task_status=trio.TASK_STATUS_IGNORED):
    """Answer every connection's requests with the given pieces of bytes, then close it."""

    async def handle(stream):
        with suppress(trio.BrokenResourceError):
            await stream.receive_some(65_536)
            for piece in answers:
                await stream.send_all(piece)
                await trio.testing.wait_all_tasks_blocked()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    task_status.started(f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
    await trio.serve_listeners(handle, [listener])


@pytest.mark.parametrize("cut", range(0, len(OK), 7))
async def test_answers_may_come_in_pieces(nursery, cut):
    url = await nursery.start(serve, [piece for piece in (OK[:cut], OK[cut:]) if piece])
    async with LightClient(url) as client:
        assert await client.post(b"{}") == b"{}"
        with pytest.raises(ClientError, match=r"ended within|broke"):
            await client.post(b"{}")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (OK + b"more", "more was answered"),
        (OK.replace(b"200", b"503"), "not a plain answer"),
        (OK.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked"), "not a plain answer"),
        (OK[:-1], "ended within"),
        (b"", "ended within"),
    ],
)
async def test_other_answers_are_errors(nursery, answer, said):
    url = await nursery.start(serve, [answer] if answer else [])
    async with LightClient(url) as client:
        with pytest.raises(ClientError, match=said):
            await client.post(b"{}")
    with pytest.raises(ClientError, match="not connected"):
        await LightClient(url).post(b"{}")
    with pytest.raises(ClientError, match="cannot be reached"):
        async with LightClient("http://127.0.0.1:1"):
            pass


def test_calls_are_rendered_one_by_one_or_as_a_batch():
    assert json.loads(render_calls("m", [[1]])) == {
        "jsonrpc": "2.0", "id": 0, "method": "m", "params": [1],
    }  # fmt: skip
    assert [item["id"] for item in json.loads(render_calls("m", [[], []]))] == [0, 1]


async def test_a_refused_registration_ends_the_load(nursery):
    def answer(body):
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)

    async def handle(stream):
        counts = b'[{"jsonrpc":"2.0","id":0,"result":"0x0"}]'
        refused = b'{"jsonrpc":"2.0","id":0,"error":{"code":-32005,"message":"pool full"}}'
        with suppress(trio.BrokenResourceError):
            while request := await stream.receive_some(65_536):
                await stream.send_all(answer(counts if b"Count" in request else refused))

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, handle, [listener])
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    with pytest.raises(LoadError, match=r"refuses a registration.*pool full"):
        await offer([sign_registrations(KEY, 20_200, 2)], [url])
