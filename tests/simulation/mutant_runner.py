"""Runs the regression test of each mutant with the bug in place, two at a time.

It is a separate program, so that pytest is imported once and each mutant runs in a fork. It
prints a JSON object with pytest's exit code for each mutant. The code must be 1: the test fails.
Under "no mutant", all of them must pass.
"""

import io
import json
import multiprocessing
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import tests.unit.consensus_kit  # noqa: F401  (warm: the forks share it)
from lowu.consensus.simulation.mutants.catalogue import MUTANTS
from lowu.experiments.mutation_testing import apply_mutant

FOLDER = Path(__file__).resolve().parents[1] / "regressions"


def run(mutant):
    """Apply a mutant in this process and run its test; return its name and the exit code."""
    (file,) = FOLDER.glob(f"test_{mutant.name.lower()}_*.py")
    apply_mutant(mutant)
    return mutant.name, run_tests(file)


def run_tests(path):
    """Run tests with the options used for every mutant; return pytest's exit code."""
    with redirect_stdout(io.StringIO()):
        options = ["-q", "-x", "-c", os.devnull, "-p", "no:cacheprovider", str(path)]
        return int(pytest.main(options))


if __name__ == "__main__":
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # each fork would load the plugins again
    context = multiprocessing.get_context("fork")
    with context.Pool(2, maxtasksperchild=1) as pool:
        codes = dict(pool.imap_unordered(run, MUTANTS, chunksize=1))
    json.dump({**codes, "no mutant": run_tests(FOLDER)}, sys.stdout)
