"""Complete checks of certificates and NEW-VIEWs (R-CERT, R-NV, B04, B06, B12)."""

from dataclasses import replace

import pytest

from lowu.consensus.certificates import select_reproposals
from lowu.consensus.codec import compute_digest
from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import NewView, PreparedCertificate
from tests.unit import consensus_kit as kit


def refused(message, text):
    with pytest.raises(InvalidMessage, match=text):
        kit.VERIFIER.verify_message(message)


def test_good_messages_pass():
    for message in kit.samples():
        assert kit.VERIFIER.verify_message(message).message == message


def test_unknown_sender():
    refused(replace(kit.samples()[1], sender=4), "does not exist")


@pytest.mark.parametrize("signers", [(0, 1), (0, 0, 1), (1, 0, 2), (0, 1, 1)])
def test_certificates_need_a_quorum_of_distinct_ascending_signers(signers):
    item = kit.proposal()
    bad = kit.prepared(item, signers=signers)
    refused(kit.view_change(0, 1, certificates=[bad]), "signers|quorum")
    with pytest.raises(InvalidMessage):
        kit.VERIFIER.verify_commit(kit.committed(item, signers=signers))


def test_certificate_signature_of_another_vote():
    item = kit.proposal()
    good = kit.prepared(item)
    other = PreparedCertificate(0, kit.proposal(text=b"z"), good.signatures)
    refused(kit.view_change(0, 1, certificates=[other]), "is bad")
    later = replace(good, view=1)
    refused(kit.view_change(0, 2, certificates=[later]), "is bad")


def test_genesis_certificate_is_the_only_one_without_signatures():
    with pytest.raises(InvalidMessage, match="genesis"):
        kit.VERIFIER.verify_commit(replace(kit.GENESIS, block_hash=bytes(32)))
    with pytest.raises(InvalidMessage, match="quorum"):
        kit.VERIFIER.verify_commit(replace(kit.GENESIS, height=1))


def test_view_change_order_and_views():
    one = kit.proposal()
    two = kit.proposal(2, compute_digest(kit.DOMAIN, one), b"b")
    first, second = kit.prepared(one), kit.prepared(two)
    refused(kit.view_change(0, 1, certificates=[second, first]), "ascending")
    refused(kit.view_change(0, 1, certificates=[first, first]), "ascending")
    refused(kit.view_change(0, 1, kit.committed(one), [first]), "ascending")
    refused(kit.view_change(0, 0), "view 0")
    refused(kit.view_change(0, 1, certificates=[kit.prepared(one, view=1)]), "not yet left")


def test_new_view_sender_is_the_leader_of_its_lowest_height():
    refused(kit.new_view(1, sender=1), "not from the leader")


def test_new_view_needs_a_quorum_of_distinct_view_changes():
    one = kit.view_change(0, 1)
    refused(kit.new_view(1, (one, one, kit.view_change(1, 1))), "distinct")
    refused(kit.new_view(1, (one, kit.view_change(1, 1))), "quorum")
    refused(kit.new_view(1, ()), "quorum")


def test_new_view_with_a_view_change_for_another_view():
    changes = (kit.view_change(0, 1), kit.view_change(1, 2), kit.view_change(2, 1))
    refused(kit.new_view(1, changes), "another view")


def test_new_view_with_a_forged_view_change():
    changes = [kit.view_change(i, 1) for i in (0, 1, 2)]
    changes[1] = replace(changes[1], signature=b"forged")
    refused(kit.signed(NewView(1, tuple(changes), 2)), "bad signature")


def chain():
    one = kit.proposal()
    two = kit.proposal(2, compute_digest(kit.DOMAIN, one), b"b")
    three = kit.proposal(3, compute_digest(kit.DOMAIN, two), b"c")
    return one, two, three


def select(*changes):
    return select_reproposals(kit.DOMAIN, changes)


def test_selection_takes_the_highest_view_of_each_height():
    one, two, _ = chain()
    other = kit.proposal(1, text=b"other")
    found = select(
        kit.view_change(0, 3, certificates=[kit.prepared(other, 0)]),
        kit.view_change(1, 3, certificates=[kit.prepared(one, 2), kit.prepared(two, 1)]),
        kit.view_change(2, 3),
    )
    assert found.proposals == (one, two)


def test_selection_stops_at_a_gap():
    one, _, three = chain()
    certificates = [kit.prepared(one), kit.prepared(three)]
    assert select(kit.view_change(0, 1, certificates=certificates)).proposals == (one,)


def test_selection_stops_where_the_chain_breaks():
    one, two, _ = chain()
    other = kit.proposal(1, text=b"other")
    found = select(
        kit.view_change(0, 3, certificates=[kit.prepared(one, 0), kit.prepared(two, 0)]),
        kit.view_change(1, 3, certificates=[kit.prepared(other, 2)]),
    )
    assert found.proposals == (other,), "two stands on one, which other has replaced"


def test_selection_starts_at_the_highest_stable_height():
    one, two, three = chain()
    found = select(
        kit.view_change(0, 1, kit.GENESIS, [kit.prepared(one), kit.prepared(two)]),
        kit.view_change(1, 1, kit.committed(two), [kit.prepared(three)]),
    )
    assert found.stable.height == 2
    assert found.proposals == (three,)


def test_selection_of_nothing():
    assert select(kit.view_change(0), kit.view_change(1)).proposals == ()
