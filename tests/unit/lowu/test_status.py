"""`lowu status` shows a node that abstains, and one whose storage is damaged (N-F3, N-F8)."""

from lowu.commands.network import _quorum_notes, _status_notes, _status_row
from lowu.node.simulation.virtual_network import open_virtual
from lowu.node.simulation.virtual_time import run_virtual
from lowu.node.topology.network import build_probe, read_status
from lowu.testing.networks import load_plan

ENTRY = {
    "name": "node3",
    "institution": "hkstp",
    "side": "HK",
    "kind": "validator",
    "pid": 7,
    "starts": 1,
    "exit_code": None,
    "height": 5,
    "hash": "0x" + "ab" * 32,
    "view": 2,
    "is_changing_view": False,
    "is_abstaining": False,
    "abstain_reason": "",
    "damaged_reads": 0,
    "damage": "",
    "peers": 3,
    "pending": 0,
}


def test_a_healthy_node_has_nothing_to_say():
    assert list(_status_notes(ENTRY)) == []
    assert "pid 7" in _status_row(ENTRY)


def test_a_node_that_abstains_says_why():
    entry = ENTRY | {"is_abstaining": True, "abstain_reason": "the trace is missing"}
    assert "(abstaining)" in _status_row(entry)
    (note,) = _status_notes(entry)
    assert "the trace is missing" in note and "votes again" in note


def test_a_node_whose_storage_is_damaged_shows_it_with_count_and_file():
    entry = ENTRY | {"damaged_reads": 4, "damage": "checksum mismatch in 000009.sst"}
    assert "pid 7, damaged" in _status_row(entry)
    (note,) = _status_notes(entry)
    assert (
        "4 reads failed" in note and "000009.sst" in note and "lowu doctor node3 --repair" in note
    )


def test_a_node_that_is_down_has_nothing_to_say():
    entry = {key: ENTRY[key] for key in ("name", "institution", "side", "kind", "starts")}
    assert list(_status_notes(entry | {"pid": None, "exit_code": 1})) == []
    assert "exited (1)" in _status_row(entry | {"pid": None, "exit_code": 1})


def test_hash_and_root_are_of_one_block(monkeypatch):
    """Two nodes showed one hash and two roots: a block was committed between two requests."""
    plan = load_plan("dev-4")
    planned = plan.nodes[0]

    async def main():
        async with open_virtual(plan) as network:
            local = network.client(planned)

            class Hasty:
                """A client that commits a block before each of its requests."""

                def __init__(self, url, timeout_s):
                    assert url == planned.url

                async def __aenter__(self):
                    return self

                async def __aexit__(self, *exc):
                    pass

                async def call(self, *arguments):
                    raw = "0x" + build_probe(plan).hex()
                    await local.wait_for_receipt(await local.call("eth_sendRawTransaction", raw))
                    return await local.call(*arguments)

            monkeypatch.setattr("lowu.node.topology.network.RpcClient", Hasty)
            status = await read_status(planned)
            shown = await local.call("eth_getBlockByHash", status["hash"], False)
            return status, shown

    status, shown = run_virtual(1, main)
    assert status["state_root"] == shown["stateRoot"]
    assert status["height"] == int(shown["number"], 16)


def test_too_few_voters_are_told():
    """If two of four validators abstain, the chain stops for good; nothing reported that."""
    plan = load_plan("dev-4")
    ids = [node.key.node_id.hex() for node in plan.nodes]
    of_all = {"height": 5, "is_abstaining": False, "quorum": 3, "weights": dict.fromkeys(ids, 1)}
    entries = [
        {**of_all, "name": node.name, "node_id": node_id}
        for node, node_id in zip(plan.nodes, ids, strict=True)
    ]
    assert list(_quorum_notes(plan, entries)) == []
    up = entries[0]
    entries[0] = {"name": "node0", "node_id": ids[0]}  # it is down
    assert list(_quorum_notes(plan, entries)) == []
    entries[1]["is_abstaining"] = True
    weight, remedy = _quorum_notes(plan, entries)
    assert "weight 2, but 3 is needed" in weight
    assert "node0" in remedy and "lowu start" in remedy, "nothing is to be readmitted"
    entries[0] = up | {"is_abstaining": True}
    weight, remedy = _quorum_notes(plan, entries)
    assert "lowu readmit" in remedy
