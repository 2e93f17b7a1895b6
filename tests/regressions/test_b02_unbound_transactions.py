"""B02: a proposal's digest binds its transactions (R-DIG-1)."""

from dataclasses import replace

from tests.unit import consensus_kit as kit


def test_other_transactions_are_another_proposal():
    item = kit.proposal()
    other = replace(item, tx_root=b"x" * 32)
    assert kit.digest_of(item) != kit.digest_of(other)
