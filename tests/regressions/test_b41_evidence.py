"""B41: evidence of equivocation is durable, complete, and survives a restart (R-EVI-1)."""

from lowu.consensus.effects import Persist, ReportEvidence
from lowu.consensus.messages import Prepare
from lowu.consensus.records import EvidenceRecord
from tests.unit import consensus_kit as kit

ONE, OTHER = kit.proposal(), kit.proposal(text=b"other")


def equivocate(replica, kind=Prepare):
    kit.deliver(replica, kit.vote(kind, ONE, 1))
    return kit.deliver(replica, kit.vote(kind, OTHER, 1))


def test_both_messages_are_stored_before_the_report():
    replica = kit.replica()
    effects = equivocate(replica)
    assert replica.has_evidence(1, Prepare)
    (persist,) = kit.only(Persist, effects)
    (report,) = kit.only(ReportEvidence, effects)
    assert effects.index(persist) < effects.index(report)
    (record,) = persist.records
    assert record == EvidenceRecord(1, report.evidence) and report.evidence.accused == 1
    assert not kit.replica().has_evidence(1, Prepare)
    for message in (report.evidence.first, report.evidence.second):
        kit.verified(message)


def test_it_is_stored_once_also_over_a_restart():
    replica = kit.replica()
    (persist,) = kit.only(Persist, equivocate(replica))
    assert kit.only(Persist, equivocate(replica)) == []
    back, _ = kit.recovered(3, persist.records)
    assert kit.only(ReportEvidence, equivocate(back)) == []


def test_two_proposals_of_one_leader_for_a_view_to_come():
    replica = kit.replica()
    items = [kit.proposal(text=text, proposer=2) for text in (b"a", b"b")]
    kit.deliver(replica, kit.offer(items[0], view=1))
    (report,) = kit.only(ReportEvidence, kit.deliver(replica, kit.offer(items[1], view=1)))
    assert report.evidence.accused == 2
