"""The differential finds known mutants; `lowu bench differential --mutants` runs all."""

import logging

import pytest

from lowu.node.simulation.evm.differential import find_differences
from lowu.node.simulation.evm.mutants import MUTANTS

SEED, PROGRAMS = 0, 40
SOON = (
    "comparisons leave a bool (N-P0)",
    "a cold slot costs one too many",
    "a cleared slot gives back too much",
    "a cold account costs one too many",
    "copies are not padded with zeros",
    "a callee's refund is lost",
)
"""Mutants that one of the first programs finds."""


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", SOON)
def test_a_fault_is_found(name):
    with MUTANTS[name]():
        assert next(find_differences(SEED, PROGRAMS), None) is not None


def test_and_nothing_where_there_is_none():
    """Also, a mutant leaves no trace after its context."""
    assert next(find_differences(SEED, PROGRAMS), None) is None
