"""B01: a signature must not count for another type of message (R-SIG-1)."""

import pytest

from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import Checkpoint, Commit, Prepare, Status
from tests.unit import consensus_kit as kit

ITEM = kit.proposal()


@pytest.mark.parametrize(("given", "wanted"), [(Prepare, Commit), (Commit, Prepare)])
def test_a_vote_of_one_phase_is_none_of_the_other(given, wanted):
    vote = kit.vote(given, ITEM, 1)
    changed = wanted(vote.view, vote.height, vote.digest, vote.sender, vote.signature)
    with pytest.raises(InvalidMessage, match="bad signature"):
        kit.verified(changed)


def test_every_type_signed_as_every_other_is_refused():
    digest = kit.digest_of(ITEM)
    unsigned = [
        Prepare(1, 1, digest, 2),
        Commit(1, 1, digest, 2),
        Status(1, 1, 2),
        Checkpoint(1, digest, digest, 2),
    ]
    for one in unsigned:
        for other in unsigned:
            signature = kit.signed(other).signature
            if type(one) is not type(other):
                with pytest.raises(InvalidMessage, match="bad signature"):
                    kit.verified(
                        type(one)(*[getattr(one, f) for f in one.__slots__[:-1]], signature)
                    )
