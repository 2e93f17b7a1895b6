"""Whether a removal of a node was cut short, by what the others know."""

from types import SimpleNamespace

import pytest

from lowu.commands.node import deciding

NAMES = ("node0", "node1", "node2")
GONE = "node2"


def known(height):
    return {"peers": 2, "height": height}


@pytest.fixture
def asked(monkeypatch):
    """What a network of three looks like: who has which height, and whom each has in the group."""
    nodes = {
        name: SimpleNamespace(name=name, url=name, key=SimpleNamespace(node_id=name.encode()))
        for name in NAMES
    }
    view = SimpleNamespace(
        nodes=nodes, statuses=dict.fromkeys(NAMES, known(9)), groups=dict.fromkeys(NAMES, NAMES)
    )

    async def read_statuses(wanted):
        return {
            node.name: view.statuses[node.name] for node in wanted if node.name in view.statuses
        }

    async def read_group(office, node=None):
        return {name.encode().hex(): None for name in view.groups[node.name]}

    monkeypatch.setattr(deciding, "read_statuses", read_statuses)
    monkeypatch.setattr(deciding, "read_group", read_group)
    view.left = ()
    return view


async def is_cut_short(view):
    members = [node for name, node in view.nodes.items() if name not in view.left]
    office = SimpleNamespace(plan=SimpleNamespace(members=members, left=view.left))
    return await deciding.is_cut_short(office, view.nodes[GONE])


async def test_a_member_is_not_removed_whoever_has_not_heard_of_it_yet(asked):
    assert not await is_cut_short(asked)
    asked.groups["node0"] = ("node0", "node1")
    asked.statuses["node0"] = {"peers": 99, "height": 3}  # it still catches up
    assert not await is_cut_short(asked)


async def test_a_removed_node_that_runs_or_would_be_started(asked):
    asked.groups |= dict.fromkeys(("node0", "node1"), ("node0", "node1"))
    assert await is_cut_short(asked), "it would be started with the others"
    asked.left = (GONE,)
    assert await is_cut_short(asked), "it runs"
    del asked.statuses[GONE]
    assert not await is_cut_short(asked)


async def test_nobody_answers(asked):
    asked.statuses.clear()
    assert not await is_cut_short(asked)
