"""L06: in every step, a vote's record is persisted before the vote is sent (R-SAFE-1)."""

from lowu.consensus.effects import Broadcast, Persist
from lowu.consensus.messages import Checkpoint, Commit, Prepare, PrePrepare, ViewChange
from lowu.consensus.records import VoteRecord
from tests.unit import consensus_kit as kit


def assert_durable_first(effects):
    votes = set()
    for effect in effects:
        if isinstance(effect, Persist):
            votes |= {(r.kind, r.height) for r in effect.records if isinstance(r, VoteRecord)}
        elif isinstance(effect, Broadcast):
            message = effect.message
            kinds = (PrePrepare, Prepare, Commit, Checkpoint)
            if isinstance(message, kinds):
                height = getattr(message, "height", 0) or message.proposal.height
                assert (kinds.index(type(message)), height) in votes
            elif isinstance(message, ViewChange):
                assert any(isinstance(e, Persist) for e in effects)


def test_normal_case():
    replica, item = kit.replica(), kit.proposal()
    assert_durable_first(list(kit.commit(replica, item)))


def test_a_leader():
    from lowu.consensus.inputs import ProposalBuilt

    leader = kit.replica(1)
    kit.pending(leader)
    assert_durable_first(leader.step(ProposalBuilt(0, kit.proposal(), (b"h" * 32,))))
