"""B03: the sender that a message names must match the link it came over (R-SIG-2)."""

import pytest

from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import Prepare
from tests.unit import consensus_kit as kit


def test_a_message_of_another_validator_is_refused():
    message = kit.vote(Prepare, kit.proposal(), 1)
    kit.VERIFIER.verify_link(kit.node_id(1), message)
    for link in (kit.node_id(2), b"no validator"):
        with pytest.raises(InvalidMessage, match="another validator than the link's"):
            kit.VERIFIER.verify_link(link, message)


def test_a_new_view_may_be_passed_on():
    kit.VERIFIER.verify_link(kit.node_id(3), kit.new_view(1))
