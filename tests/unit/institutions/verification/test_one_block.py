"""What a verification reads is the state of one block, whatever is committed meanwhile."""

from pathlib import Path

import pytest

from lowu.contracts.registry import AnchorState
from lowu.experiments.scenarios.presenting import issue_report
from lowu.institutions.ledger.facts import Query
from lowu.institutions.ledger.registry import Registry
from lowu.node.topology.changes import set_values
from lowu.options import read_network
from lowu.testing.networks import VirtualNetwork


@pytest.mark.parametrize(
    ("history_blocks", "wanted"),
    [
        (256, AnchorState.ACTIVE),
        (0, AnchorState.REVOKED),  # the node has the latest state only, and that is at least as new
    ],
)
def test_a_block_between_two_reads(history_blocks, wanted, tmp_path: Path):
    async def play(actors, _):
        registry = Registry(actors.clients["nova"])
        _, issued = await issue_report(actors, 1)
        org = actors.issuers["szcredit"].member.org_id
        query = Query(org, 1, 1, issued.anchor, None, None, bytes(32), org, (1, 2))
        block = await registry.get_latest_block()
        await actors.revoke("szcredit", issued.anchor)
        late = await registry.get_latest_block()
        found = [await registry.read_facts(query, item["hash"]) for item in (block, late)]
        return [item.state for item in found]

    path = tmp_path / "own.toml"
    text, _ = read_network("pilot-2")
    path.write_text(set_values(text, [f"history_blocks={history_blocks}"]), encoding="utf-8")
    assert VirtualNetwork(str(path)).play(play) == [wanted, AnchorState.REVOKED]
