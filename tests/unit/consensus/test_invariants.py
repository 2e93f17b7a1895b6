"""The predicates that the product, the simulation and the end-to-end tests share."""

from dataclasses import replace

import pytest

from lowu.consensus.errors import InvariantViolation
from lowu.consensus.invariants import (
    BlockFact,
    check_agreement,
    check_certificate,
    check_chain,
    is_strong_quorum,
)
from lowu.consensus.types import hash_bytes
from lowu.consensus.validators import Validator, ValidatorSet
from tests.unit import consensus_kit as kit


def chain(length):
    blocks, parent = [], b"g" * 32
    for height in range(1, length + 1):
        block_hash = hash_bytes(b"%d" % height)
        blocks.append(BlockFact(height, block_hash, parent, b"s" * 32, b"r" * 32))
        parent = block_hash
    return blocks


def test_prefixes_agree():
    check_agreement({"a": chain(5), "b": chain(3), "c": chain(5)[2:], "d": []})


@pytest.mark.parametrize("field", ["block_hash", "state_root", "receipt_root"])
def test_p01_any_difference_at_one_height(field):
    blocks = chain(3)
    other = [*blocks[:2], replace(blocks[2], **{field: b"x" * 32})]
    with pytest.raises(InvariantViolation, match="P01: b and a have different blocks at height 3"):
        check_agreement({"a": blocks, "b": other})


@pytest.mark.parametrize("change", [{"height": 3}, {"parent_hash": b"x" * 32}])
def test_p02_gaps_and_wrong_parents(change):
    first, second = chain(2)
    with pytest.raises(InvariantViolation, match="P02"):
        check_chain("a", [first, replace(second, **change)])


@pytest.mark.parametrize("signers", [(0, 1), (0, 1, 1), (0, 1, 9), ()])
def test_p04_certificates_that_are_no_quorum(signers):
    good = kit.committed(kit.proposal())
    check_certificate(kit.VALIDATORS, good)
    bad = replace(good, signatures=tuple((index, b"s") for index in signers))
    with pytest.raises(InvariantViolation, match="P04"):
        check_certificate(kit.VALIDATORS, bad)


@pytest.mark.parametrize("weights", [(1,) * 4, (1,) * 5, (3, 1, 1, 1), (5, 5, 1), (1,), (2, 2)])
def test_strong_quorums_are_what_the_core_calls_quorums(weights):
    members = (Validator(kit.node_id(i), weight) for i, weight in enumerate(weights))
    validators = ValidatorSet(tuple(members))
    for mask in range(2 ** len(weights)):
        signers = [i for i in range(len(weights)) if mask >> i & 1]
        if validators.has_quorum(signers):
            assert is_strong_quorum(validators, signers)
