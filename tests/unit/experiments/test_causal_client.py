"""Scenarios give the expected results however far an institution's node lags behind."""

import pytest

from lowu.contracts.registry import AnchorState
from lowu.experiments.actors.causal_client import WAIT_S, CausalClient, Horizon
from lowu.experiments.scenarios import ALL, Stage
from lowu.experiments.scenarios.presenting import issue_report
from lowu.institutions.ledger.registry import Registry
from lowu.node.client import ClientError
from lowu.testing.networks import VirtualNetwork

LAG_S = 0.4
"""Lag of a node: several blocks."""


@pytest.mark.parametrize(("name", "slow"), [("E7", "nova"), ("E8", "fusion"), ("X4", "nova")])
def test_a_reader_s_node_lags_behind(name, slow, tmp_path):
    async def play(actors, faults):
        stage = Stage(actors, tmp_path, [])
        async with faults.slow(LAG_S, slow):
            await ALL[name].play(stage)
        return stage.steps

    steps = VirtualNetwork("seed-7").play(play)
    assert steps
    assert [step for step in steps if not step.is_as_expected] == []


def test_what_a_slow_node_has_can_be_read_too():
    async def play(actors, faults):
        reader = Registry(actors.clients["nova"])
        async with faults.slow(LAG_S, "nova"):
            _, issued = await issue_report(actors, 1)
            org_id = actors.issuers["szcredit"].member.org_id
            with actors.horizon.ignored():
                early = await reader.get_record(org_id, issued.anchor)
            late = await reader.get_record(org_id, issued.anchor)
        return early.state, late.state

    assert VirtualNetwork("seed-7").play(play) == (AnchorState.NONE, AnchorState.ACTIVE)


class Stuck:
    """A client of a node that stays at one block for ever."""

    url = "http://stuck"

    async def call(self, method, *params):
        return "0x3" if method == "eth_blockNumber" else {"blockNumber": "0x5"}

    async def call_many(self, method, params):
        return [None for _ in params]


async def test_a_node_that_stays_behind_is_named(autojump_clock):
    client = CausalClient(Stuck(), Horizon())
    assert await client.call_many("eth_call", [[{}]]) == [None]
    await client.call("eth_getTransactionReceipt", "0x00")
    for ask in (client.call("eth_call", {}), client.call_many("eth_call", [[{}]])):
        with pytest.raises(ClientError, match=f"block 3 after {WAIT_S:.0f} s, and block 5"):
            await ask
