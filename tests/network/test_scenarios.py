"""Scenarios run by the command, on real processes."""

import pytest

from lowu.experiments.scenarios import ALL
from tests.network import kit


@pytest.mark.parametrize(
    "names", [("e1", "E8", "E11", "E12"), ("E14",), ("E15",), ("X2", "X4")], ids="-".join
)
def test_some_scenarios(names):
    answer = kit.lowu_json("scenarios", *names, "--cut", "6")
    assert answer["ok"], answer
    figures = answer["figures"]
    assert figures["scenarios"] == figures["as_expected"] == len(names)
    assert figures["canary_hits"] == 0 and figures["steps"] >= 2 * len(names)
    assert [item["name"] for item in answer["played"]] == [name.upper() for name in names]


@pytest.mark.parametrize(
    ("arguments", "text"), [([], "name scenarios"), (["E99", "--json"], "no scenario E99")]
)
def test_names_are_checked(arguments, text):
    done = kit.lowu("scenarios", *arguments, check=False)
    assert done.returncode == 2 and text in done.stderr and "E1, E2" in done.stderr


def test_the_list():
    listed = kit.lowu_json("scenarios", "--list")["scenarios"]
    assert list(listed) == list(ALL)
