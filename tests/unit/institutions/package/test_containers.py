"""What is asked for is all there, or it is told what is not (N-H3, N-D4)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowu.institutions.package.containers import choose, find_gaps, read_shown
from lowu.institutions.package.leaves import LeafType, build_leaves
from lowu.institutions.verification.verdicts import Verdict
from tests.unit.document_world import HOLDER_KEY, World

CONTENT = {
    "a": 1,
    "list": [{"x": 1, "y": []}, {"x": 2, "y": [3]}],
    "none": {},
    "deep": {"er": {"still": None}},
}


def leaves(content=CONTENT):
    return [leaf for leaf in build_leaves(content, b"seed") if leaf.type is not LeafType.PAD]


def gaps(wanted, without=(), content=CONTENT):
    kept = [leaf for leaf in leaves(content) if leaf.path not in without]
    return find_gaps(read_shown(kept), wanted)


@pytest.mark.parametrize(
    ("wanted", "without", "missing"),
    [
        (["", "/list", "/a", "/none"], [], []),
        (["/a"], ["/a"], ["/a"]),
        (["/list"], ["/list/1/x"], ["/list/1"]),
        (["/list"], ["/list/1", "/list/1/x", "/list/1/y", "/list/1/y/0"], ["/list"]),
        (["/list"], ["/list/1/y/0"], ["/list/1/y"]),
        (["/list"], ["/list"], ["/list"]),  # its size is not shown
        (["/list/0"], ["/list"], []),
        ([""], [""], [""]),
        (["/none"], ["/none"], ["/none"]),
        (["/list/2", "/list/7/x"], [], []),  # beyond the end
        (["/list/2"], ["/list"], ["/list/2"]),
        (["/list/1"], ["/list/1"], ["/list/1"]),
        (["/list/x", "/list/01"], [], []),  # no positions
        (["/other", "/deep/other"], [], []),  # all keys are shown
        (["/other"], ["/a"], ["/other"]),
        (["/a/b"], [], []),  # nothing is below a value
        (["/deep/er/more"], ["/deep/er", "/deep"], ["/deep/er/more"]),
    ],
)
def test_gaps(wanted, without, missing):
    assert gaps(wanted, without) == missing


documents = st.recursive(
    st.none() | st.integers(0, 9) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab/~0", max_size=2), inner, max_size=3)
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.text("ab", max_size=2), documents, max_size=4), st.data())
def test_whatever_is_left_out_shows(content, data):
    every = leaves(content)
    assert read_shown(every).contradiction == "" and gaps([""], content=content) == []
    hidden = data.draw(st.sampled_from(every))
    kept = [leaf for leaf in every if leaf is not hidden]
    assert find_gaps(read_shown(kept), [""]) != []
    chosen = data.draw(st.sampled_from(every)).path
    shown = choose(every, [chosen], 2)
    assert find_gaps(read_shown(shown), [chosen]) == []
    assert {leaf.path for leaf in shown} == {
        leaf.path for leaf in every if leaf.path == chosen or leaf.path.startswith(chosen + "/")
    }


def test_for_a_position_beyond_the_end_the_size_is_shown():
    assert [leaf.path for leaf in choose(leaves(), ["/list/2/x"], 2)] == ["/list"]
    for path in ("/nowhere", "/list/1/z", "/deep/x"):
        with pytest.raises(ValueError, match=f"has no field {path}"):
            choose(leaves(), ["/a", path], 2)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"/a": {"path": "/none"}}, "two values at /none"),
        ({"/list/0/x": {"kinds": "ooo"}}, "/list is an array and an object"),
        ({"/list": {"type": LeafType.OBJECT}}, "/list is of type OBJECT and contains fields"),
        ({"/deep": {"type": LeafType.TRUE, "value": ""}}, "/deep is of type TRUE and contains"),
        ({"/list": {"value": "1"}}, "/list has more elements than its size says"),
        ({"": {"value": "3"}}, "the root has more elements"),
        ({"/a": {"path": "/list/2", "kinds": "oa"}}, "/list has more elements"),
        ({"/a": {"path": "/list/2/x", "kinds": "oao"}}, "/list has more elements"),
        ({"/a": {"path": "/more/x", "kinds": "oo"}}, ""),
        ({"/deep/er/still": {"path": "/more/x", "kinds": "oo"}}, "the root has more elements"),
    ],
)
def test_contradictions(changes, text):
    changed = [replace(leaf, **changes.get(leaf.path, {})) for leaf in leaves()]
    assert text in read_shown(changed).contradiction


async def test_contradictions_and_gaps_are_reported():
    world = World()
    shown = world.show()
    short = replace(shown, disclosures=shown.disclosures[:-1], hashes=shown.hashes[:-1])
    report = await world.verify(short.signed(HOLDER_KEY))
    assert report.verdict is Verdict.REJECT
    assert any(code.startswith("FIELDS_NOT_SHOWN") for code in report.codes)
