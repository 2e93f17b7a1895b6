"""L14: a message that came over its sender's link is accepted (R-SIG-2)."""

import pytest

from tests.unit import consensus_kit as kit


@pytest.mark.parametrize("message", kit.samples(), ids=lambda message: type(message).__name__)
def test_it_is_not_refused(message):
    kit.VERIFIER.verify_link(kit.node_id(message.sender), message)
