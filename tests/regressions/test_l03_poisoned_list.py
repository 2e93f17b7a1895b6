"""L03: a proposal with a quorum is fetched by digest, whatever list came with it (R-BODY-1)."""

from lowu.consensus.effects import VerifyProposal
from lowu.consensus.inputs import ProposalVerdict, ProposalVerified
from tests.unit import consensus_kit as kit

ITEM = kit.proposal()
CERTIFIED = [
    kit.view_change(i, 1, certificates=[kit.prepared(ITEM)] if i == 0 else []) for i in (0, 1, 2)
]


def test_a_wrong_list_of_hashes_does_not_stick_to_a_proposal():
    replica = kit.replica()
    (first,) = kit.only(VerifyProposal, kit.deliver(replica, kit.offer(ITEM, hashes=(b"w" * 32,))))
    assert first.tx_hashes == (b"w" * 32,)
    replica.step(ProposalVerified(1, kit.digest_of(ITEM), ProposalVerdict.INVALID))
    (again,) = kit.only(VerifyProposal, kit.deliver(replica, kit.new_view(1, CERTIFIED)))
    assert again.tx_hashes is None and again.is_vouched
