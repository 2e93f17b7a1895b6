"""Known bugs put back: the edits fit, the regression tests fail, the simulation finds them."""

import subprocess
import sys
from pathlib import Path

import pytest

from consensus.simulation.mutant import Edit
from consensus.simulation.mutants import MUTANTS
from experiments.mutants import MutantError, apply_edit, edited_source, hunt_all

ROOT = Path(__file__).resolve().parents[2]
FAST = ("B01", "B02", "B03", "B04", "B07", "B14", "B15", "B22", "B31", "B36")


def test_names_are_distinct_and_of_known_bugs():
    names = [mutant.name for mutant in MUTANTS]
    text = (ROOT / "docs" / "BUGS.md").read_text()
    assert len(names) == len(set(names)) > 35
    assert [name for name in names if f"| {name} |" not in text] == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_edits_fit_and_the_regression_fails_with_the_bug(mutant):
    for edit in mutant.edits:
        compile(edited_source(edit), edit.function, "exec")
    pattern = f"test_{mutant.name.lower()}_*.py"
    files = [str(path) for path in (ROOT / "tests" / "regressions").glob(pattern)]
    assert len(files) == 1, pattern
    code = (
        "import sys, pytest\n"
        "from consensus.simulation.mutants import MUTANTS\n"
        "from experiments.mutants import apply_mutant\n"
        f"apply_mutant(next(m for m in MUTANTS if m.name == {mutant.name!r}))\n"
        f"sys.exit(pytest.main(['-q', '-x', '-p', 'no:cacheprovider', {files[0]!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1, f"{files[0]} does not see {mutant.bug}\n{done.stdout[-2000:]}"


def test_the_simulation_finds_the_fastest_ten():
    chosen = [mutant for mutant in MUTANTS if mutant.name in FAST]
    hunts = list(hunt_all(chosen, 60, 2))
    assert {hunt.name for hunt in hunts} == set(FAST)
    assert [hunt.name for hunt in hunts if not hunt.is_killed] == []


def test_an_edit_that_does_not_fit_is_told():
    with pytest.raises(MutantError, match="0 times"):
        apply_edit(Edit("consensus.quorum", "compute_quorum", "no such text", ""))
    with pytest.raises(MutantError, match="no function"):
        apply_edit(Edit("consensus.quorum", "nothing", "", ""))
