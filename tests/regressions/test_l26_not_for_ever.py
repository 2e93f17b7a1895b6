"""L26: a VIEW-CHANGE names each validator once, for at most 64 of its turns (R-LEAD-3)."""

import pytest

from lowu.consensus.codec import decode_message, encode_message
from lowu.consensus.errors import InvalidMessage
from lowu.consensus.validators import VALIDATORS_MAX
from tests.unit import consensus_kit as kit

HIGHEST = 64 * 4


def test_the_longest_that_is_taken():
    kit.verified(kit.view_change(0, passed_over=[(1, 1), (2, HIGHEST)]))


@pytest.mark.parametrize("until", [0, HIGHEST + 1, 2**40])
def test_too_long_or_over_already(until):
    with pytest.raises(InvalidMessage, match="for too long"):
        kit.verified(kit.view_change(0, passed_over=[(1, until)]))


@pytest.mark.parametrize("names", [[(1, 4), (1, 5)], [(2, 4), (1, 4)], [(4, 4)]])
def test_nobody_twice_and_nobody_else(names):
    with pytest.raises(InvalidMessage, match="distinct leaders in ascending order"):
        kit.verified(kit.view_change(0, passed_over=names))


def test_no_more_than_there_can_be():
    message = kit.view_change(0, passed_over=[(1, 4)] * (VALIDATORS_MAX + 1))
    with pytest.raises(InvalidMessage, match="leaders to pass over"):
        decode_message(encode_message(message))
