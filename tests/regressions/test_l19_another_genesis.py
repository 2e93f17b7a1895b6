"""L19: the only certificate without signatures is our genesis (R-CERT-2)."""

from dataclasses import replace

import pytest

from lowu.consensus.errors import InvalidMessage
from tests.unit import consensus_kit as kit


@pytest.mark.parametrize("change", [{"digest": b"x" * 32}, {"block_hash": b"x" * 32}])
def test_another_genesis_is_refused(change):
    with pytest.raises(InvalidMessage, match="another genesis"):
        kit.verified(kit.view_change(1, 1, replace(kit.GENESIS, **change)))
