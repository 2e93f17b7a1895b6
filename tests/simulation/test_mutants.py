"""Known bugs put back: the edits fit, the regression tests fail, the simulation finds them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lowu.consensus.simulation.mutants.catalogue import MUTANTS
from lowu.consensus.simulation.mutants.edit import Edit
from lowu.experiments.mutation_testing import MutantError, apply_edit, edited_source, hunt_all

ROOT = Path(__file__).resolve().parents[2]
FAST = ("B03", "B04", "B07", "B14", "B15", "B22", "B31", "B36", "L10", "L13")


def test_names_are_distinct_and_of_known_bugs():
    names = [mutant.name for mutant in MUTANTS]
    text = (ROOT / "docs" / "BUGS.md").read_text()
    assert len(names) == len(set(names)) > 35
    assert [name for name in names if f"| {name} |" not in text] == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_edits_fit(mutant):
    for edit in mutant.edits:
        compile(edited_source(edit), edit.function, "exec")
    files = list((ROOT / "tests" / "regressions").glob(f"test_{mutant.name.lower()}_*.py"))
    assert len(files) == 1


def test_every_regression_test_fails_with_its_bug():
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.mutant_runner"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    codes = json.loads(done.stdout)
    assert codes.pop("no mutant") == 0
    assert set(codes) == {mutant.name for mutant in MUTANTS}
    assert {name: code for name, code in codes.items() if code != 1} == {}


def test_the_simulation_finds_the_fastest_ten():
    chosen = [mutant for mutant in MUTANTS if mutant.name in FAST]
    hunts = list(hunt_all(chosen, 60, 2))
    assert {hunt.name for hunt in hunts} == set(FAST)
    assert [hunt.name for hunt in hunts if not hunt.is_killed] == []


def test_an_edit_that_does_not_fit_is_told():
    with pytest.raises(MutantError, match="0 times"):
        apply_edit(Edit("lowu.consensus.quorum", "compute_quorum", "no such text", ""))
    with pytest.raises(MutantError, match="is not a function"):
        apply_edit(Edit("lowu.consensus.quorum", "nothing", "", ""))
