"""N-F3: after damage, every sent vote is still there, or the validator abstains (R-SAFE-3).

Conversely, no honest crash, at whatever instant, makes a validator abstain.
"""

import os
import shutil
from dataclasses import replace
from random import Random

import pytest

from lowu.consensus.messages import Evidence, Prepare
from lowu.consensus.records import EvidenceRecord, ViewRecord, VoteKind, VoteRecord
from lowu.node.errors import ConfigError
from lowu.node.ledger import opening, vote_trace
from lowu.node.ledger.opening import KEPT_MAX
from lowu.node.ledger.votes import vote_key
from tests.crash import kit
from tests.crash.kit import check_image, copy_of, open_image
from tests.unit import consensus_kit, node_kit

CUTS = 60
"""Random cut points, besides those at the ends of records."""


def flip(path, at, bits=0x10):
    data = bytearray(path.read_bytes())
    data[at] ^= bits
    path.write_bytes(bytes(data))


def zero_tail(path, count):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - count] + bytes(count))


def newest(folder, pattern):
    return max((folder / "data").glob(pattern))


# --- honest crashes --------------------------------------------------------------------------


def test_no_crash_at_any_instant_makes_it_abstain(young, folder):
    """Killed before, between or after the two syncs of a step, it keeps all votes it sent."""
    points = [point for point, _ in young]
    assert {"before the database", "after the trace", "at rest"} <= set(points)
    assert points.count("before the trace") > 5
    for point, image in young:
        opened = open_image(copy_of(image, folder))
        assert (opened.lost, opened.has_lost, opened.damage) == ("", False, ""), point


def test_a_crash_while_the_log_grows_leaves_part_of_a_record(young, folder):
    """Cut a step's unsynced write anywhere: none of its votes has been sent."""
    images = [image for point, image in young if point == "before the trace"]
    before = [image for point, image in young if point == "before the database"]
    for image in images:
        sizes = [item.log.stat().st_size for item in before]
        start = max(size for size in sizes if size < image.log.stat().st_size)
        end = image.log.stat().st_size
        for size in {start, start + 1, start + 8, (start + end) // 2, end - 1}:
            copy = copy_of(image, folder)
            os.truncate(copy.log, size)
            assert open_image(copy).lost == "", (start, size, end)


def test_a_torn_write_of_the_trace_is_no_loss(young, folder):
    """One of the two slots is intact, and the database is one step ahead, as before."""
    images = [image for point, image in young if point == "before the trace"]
    for image in images:
        memory_slot = None
        for slot in range(vote_trace.SLOTS):
            copy = copy_of(image, folder)
            flip(copy.folder / vote_trace.NAME, slot * vote_trace.SLOT_BYTES + 20)
            opened = open_image(copy)
            if opened.lost == "":
                memory_slot = slot
        assert memory_slot is not None, "the slot that was being written"


def test_what_an_honest_crash_left_untraced_is_traced_before_it_leaves(young, folder):
    """A restart may send votes that were not sent before: from then on none may be lost."""
    _, image = next(item for item in young if item[0] == "before the trace")
    copy = copy_of(image, folder)
    assert open_image(copy).lost == ""
    os.truncate(copy.log, kit.record_ends(image.log)[-2])
    shutil.rmtree(copy.folder / "data")
    shutil.copytree(image.folder / "data", copy.folder / "data")
    os.truncate(copy.log, kit.record_ends(copy.log)[-2])
    assert "lacks the last step with votes" in open_image(copy).lost


# --- damage ----------------------------------------------------------------------------------


def test_a_log_cut_at_any_record_or_anywhere(young, folder):
    _, image = young[-1]
    size = image.log.stat().st_size
    ends = kit.record_ends(image.log)
    random = Random(3)
    cuts = {end + more for end in (0, *ends) for more in (-1, 0, 1)}
    cuts |= {random.randrange(size) for _ in range(CUTS)}
    lost = 0
    for cut in sorted(cuts & set(range(size))):
        copy = copy_of(image, folder)
        os.truncate(copy.log, cut)
        lost += bool(check_image(copy).lost)
    assert lost > len(ends)


def test_a_tail_of_zeros(young, folder):
    _, image = young[-1]
    for count in (20, 100, 3_000, 12_000, image.log.stat().st_size):
        copy = copy_of(image, folder)
        zero_tail(copy.log, count)
        opened = check_image(copy)
        assert opened.lost or count <= 100  # the last record holds a block and no vote
        assert opened.damage or opened.lost  # and the node reports it


def test_a_flipped_bit_anywhere_in_the_log(young, folder):
    _, image = young[-1]
    random = Random(4)
    for _ in range(CUTS):
        copy = copy_of(image, folder)
        flip(copy.log, random.randrange(image.log.stat().st_size), 1 << random.randrange(8))
        opened = check_image(copy)
        assert opened.damage or opened.lost


@pytest.mark.parametrize("pattern", ["*.log", "CURRENT", "MANIFEST-*", "*.sst"])
@pytest.mark.parametrize("damage", ["gone", "empty", "half", "flipped"])
def test_any_file_of_the_database(old, folder, pattern, damage):
    """Deleted, emptied, halved, one bit flipped: it abstains, with a new database if needed."""
    _, image = old[-1]
    for number in range(len(list((image.folder / "data").glob(pattern)))):
        copy = copy_of(image, folder)
        path = sorted((copy.folder / "data").glob(pattern))[number]
        size = path.stat().st_size
        match damage:
            case "gone":
                path.unlink()
            case "empty":
                os.truncate(path, 0)
            case "half":
                os.truncate(path, size // 2)
            case "flipped":
                flip(path, size // 2)
        opened = check_image(copy)
        assert opened.lost or opened.damage or opened.head == 40
        again = open_image(copy)
        assert bool(again.lost) == bool(opened.lost), "a restart does not make it forget the loss"


def test_a_list_of_tables_cut_anywhere(old, folder):
    """The engine accepts a truncated list: blocks and votes of a table are then gone."""
    _, image = old[-1]
    size = newest(image.folder, "MANIFEST-*").stat().st_size
    outcomes = set()
    for cut in range(0, size, 7):
        copy = copy_of(image, folder)
        os.truncate(newest(copy.folder, "MANIFEST-*"), cut)
        opened = check_image(copy)
        outcomes.add(opened.head)
        assert opened.lost or opened.head == 40
    assert 0 in outcomes


def test_tables_that_are_flipped_anywhere(old, folder):
    """Damage to votes or recent blocks is found at the start; other damage when it is read."""
    _, image = old[-1]
    random = Random(5)
    for _ in range(30):
        copy = copy_of(image, folder)
        path = random.choice(sorted((copy.folder / "data").glob("*.sst")))
        flip(path, random.randrange(path.stat().st_size), 1 << random.randrange(8))
        check_image(copy)


def test_the_trace_gone_or_damaged(young, folder):
    _, image = young[-1]
    for damage in ("gone", "empty", "half", "zeros"):
        copy = copy_of(image, folder)
        path = copy.folder / vote_trace.NAME
        match damage:
            case "gone":
                path.unlink()
            case "empty":
                path.write_bytes(b"")
            case "half":
                os.truncate(path, vote_trace.SLOT_BYTES)
            case "zeros":
                path.write_bytes(bytes(vote_trace.SLOTS * vote_trace.SLOT_BYTES))
        assert "the trace of its last vote is" in open_image(copy).lost
        assert "the trace of its last vote is" in open_image(copy).lost  # until it votes again


def test_a_step_lost_together_with_its_slot(young, folder):
    """The older slot alone must not vouch for the older database."""
    _, image = young[-1]
    ends = kit.record_ends(image.log)
    for end in ends[-8:]:
        for slot in range(vote_trace.SLOTS):
            copy = copy_of(image, folder)
            os.truncate(copy.log, end)
            flip(copy.folder / vote_trace.NAME, slot * vote_trace.SLOT_BYTES + 18)
            check_image(copy)


def test_the_database_gone_and_both_gone(young, folder):
    _, image = young[-1]
    copy = copy_of(image, folder)
    shutil.rmtree(copy.folder / "data")
    assert "its database is empty" in open_image(copy).lost
    copy = copy_of(image, folder)
    shutil.rmtree(copy.folder / "data")
    (copy.folder / vote_trace.NAME).unlink()
    assert "its database is empty" in open_image(copy).lost


def test_an_older_database_under_a_newer_trace(young, folder):
    """A restored database alone is detected; a restored whole folder cannot be (R-SAFE-3)."""
    newest_image = young[-1][1]
    for point, image in young[:-6]:
        copy = copy_of(image, folder)
        shutil.copy(newest_image.folder / vote_trace.NAME, copy.folder / vote_trace.NAME)
        opened = open_image(kit.Image(copy.folder, newest_image.watch))
        assert opened.lost or not opened.has_lost, point
        assert opened.lost, point


def test_an_older_trace_beside_a_newer_database(young, folder):
    newest_image = young[-1][1]
    copy = copy_of(newest_image, folder)
    shutil.copy(young[0][1].folder / vote_trace.NAME, copy.folder / vote_trace.NAME)
    assert "does not fit the trace" in open_image(copy).lost


def test_blocks_lost_without_votes_cost_no_votes(young, folder):
    """Cut after the last vote, the log lacks only blocks: the node fetches them and votes on."""
    _, image = young[-1]
    copy = copy_of(image, folder)
    os.truncate(copy.log, kit.record_ends(image.log)[-2])
    opened = open_image(copy)
    assert (opened.lost, opened.has_lost, opened.head) == ("", False, 5)


def test_evidence_against_others_outlives_the_votes():
    """R-EVI-1: evidence holds others' signatures, and RPC reports it after any restart."""
    vote = VoteRecord(1, VoteKind.PREPARE, 1, 0, b"d" * 32, bytes(32))
    twice = [consensus_kit.signed(Prepare(0, 1, digest * 32, 2)) for digest in (b"a", b"b")]
    evidence = EvidenceRecord(1, Evidence(2, *twice))
    chain = node_kit.Chain()
    chain.ledger.save_records([ViewRecord(1, 0, 0), vote, evidence])
    chain.trace.slots = None
    again = node_kit.Chain(chain.storage, chain.trace).ledger
    assert again.lost_votes and again.load_records() == [evidence]
    once_more = node_kit.Chain(chain.storage, chain.trace).ledger
    assert once_more.lost_votes == again.lost_votes
    once_more.save_records([ViewRecord(1, 0, 0)])  # it votes again
    assert node_kit.Chain(chain.storage, chain.trace).ledger.lost_votes == ""


@pytest.mark.parametrize("is_changed", [False, True])
def test_a_hole_among_the_votes(is_changed):
    """The last step's number is there, but an earlier step's record is missing or outdated."""
    chain = node_kit.Chain()
    votes = [VoteRecord(1, VoteKind.PREPARE, at, 0, b"d" * 32, bytes(32)) for at in (1, 2)]
    later = replace(votes[0], view=1)
    chain.ledger.save_records([ViewRecord(1, 0, 0), votes[0]])
    older = dict(chain.storage.records)
    chain.ledger.save_records([ViewRecord(1, 1, 1), later])
    chain.ledger.save_records([votes[1]])
    key = vote_key(later)
    if is_changed:
        chain.storage.records[key] = older[key]
    else:
        del chain.storage.records[key]
    again = node_kit.Chain(chain.storage, chain.trace).ledger
    assert again.lost_votes == "some of its vote records are missing"
    assert again.load_records() == []


# --- kept databases, and first starts ----------------------------------------------------------


def test_damaged_databases_are_kept_up_to_a_bound(young, folder):
    _, image = young[-1]
    copy = copy_of(image, folder)
    for number in range(1, KEPT_MAX + 1):
        (copy.folder / "data" / "CURRENT").unlink()
        assert f"is kept in data.damaged-{number}" in open_image(copy).lost
    (copy.folder / "data" / "CURRENT").unlink()
    with pytest.raises(ConfigError, match="are kept beside it already"):
        open_image(copy)
    kept = copy.folder / "data.damaged-1"
    assert (kept / image.log.name).read_bytes() == image.log.read_bytes()


def test_a_first_start_that_died_is_still_a_first_start(young, folder):
    """Killed between database and trace, or while the engine creates its files."""
    _, image = young[-1]
    empty = kit.Image(folder, kit.VoteWatch(None))
    (folder / "data").mkdir(parents=True)
    assert open_image(empty, is_first_start=True).lost == ""
    (folder / vote_trace.NAME).unlink()
    assert open_image(empty, is_first_start=True).lost == ""
    (folder / vote_trace.NAME).unlink()
    (folder / "data" / "CURRENT").unlink()
    assert open_image(empty, is_first_start=True).lost == ""
    (folder / vote_trace.NAME).unlink()
    assert open_image(empty).lost != ""
    voted = copy_of(image, folder)
    (voted.folder / vote_trace.NAME).unlink()  # a marker does not excuse a missing trace
    assert open_image(voted, is_first_start=True).lost != ""


def test_control_strict_recovery_is_not_all(young, folder, monkeypatch):
    """The engine silently opens a log that is cut between two records."""
    monkeypatch.setattr("lowu.node.ledger.votes.find_loss", lambda slots, memory: "")
    _, image = young[-1]
    copy = copy_of(image, folder)
    os.truncate(copy.log, kit.record_ends(image.log)[-6])
    with pytest.raises(AssertionError, match="it would vote on"):
        check_image(copy)


def test_control_the_search_for_gaps_is_needed(old, folder, monkeypatch):
    monkeypatch.setattr(opening, "_check_recent_blocks", lambda storage, head: None)
    _, image = old[-1]
    heads = set()
    for cut in range(0, newest(image.folder, "MANIFEST-*").stat().st_size, 7):
        copy = copy_of(image, folder)
        os.truncate(newest(copy.folder, "MANIFEST-*"), cut)
        heads.add(open_image(copy).head)
    assert 40 in heads
