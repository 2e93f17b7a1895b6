"""From which node `lowu doctor --repair` takes a chain."""

from pathlib import Path

import pytest

from lowu.commands.doctor.checking import NodeReport
from lowu.commands.doctor.mending import choose_source
from lowu.node.ledger.inspection import Inspection
from lowu.node.ledger.schema import Head


def report(name, head, base=0, damage=()):
    seen = Inspection(Head(head, 0, 0), head_hash=b"h", base=base)
    return NodeReport(name, Path(name), is_running=False, damage=list(damage), inspection=seen)


@pytest.mark.parametrize(
    ("settled", "expected"),
    [
        (0, "archive"),
        (40, "archive"),
        (41, "pruned"),
        (90, "pruned"),
        (91, "archive"),
    ],
)
def test_a_chain_as_long_as_the_votes_is_preferred_to_one_with_all_blocks(settled, expected):
    """With a shorter one, a validator would have to abstain (R-SAFE-3)."""
    found = [
        report("damaged", 95, damage=["a table"]),
        report("archive", 40),
        report("short", 30),
        report("pruned", 90, base=50),
    ]
    assert choose_source(found, settled).node == expected


def test_there_may_be_none():
    assert choose_source([report("damaged", 95, damage=["a table"])], 0) is None
