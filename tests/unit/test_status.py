"""`lowu status` shows a node that abstains, and one whose storage is damaged (N-F3, N-F8)."""

from lowu.network_commands import _status_notes, _status_row

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
    assert "4 reads failed" in note and "000009.sst" in note and "votes go with the data" in note


def test_a_node_that_is_down_has_nothing_to_say():
    entry = {key: ENTRY[key] for key in ("name", "institution", "side", "kind", "starts")}
    assert list(_status_notes(entry | {"pid": None, "exit_code": 1})) == []
    assert "ended (1)" in _status_row(entry | {"pid": None, "exit_code": 1})
