"""Untrusted JSON: the parser never gets a text that would exhaust its stack."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowu.institutions.package.canonical import CanonicalError
from lowu.institutions.package.canonical import load_json as load_file
from lowu.node.limits.json_limits import DEPTH_MAX, DIGITS_MAX, load_json

DEEP = "[" * 100_000
IN_A_STRING = f'["\u0122",{DEEP}"]'
"""In UTF-16, its first letter contains the byte of a quotation mark."""
BOMBS = {
    "plain": DEEP.encode(),
    "objects": ('{"a":' * 100_000).encode(),
    "UTF-16": IN_A_STRING.encode("utf-16-le"),
    "UTF-16, swapped": IN_A_STRING.encode("utf-16-be"),
    "UTF-16 with its mark": IN_A_STRING.encode("utf-16"),
    "UTF-32": IN_A_STRING.encode("utf-32-le"),
    "after a string": f'["\\"",{DEEP}'.encode(),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_nests_too_deeply_is_never_parsed(name):
    with pytest.raises(ValueError, match=r"nested|UTF-8"):
        load_json(BOMBS[name])
    with pytest.raises(CanonicalError):
        load_file(BOMBS[name])


def test_what_nests_as_deeply_as_it_may_is_read():
    for depth, is_right in ((DEPTH_MAX, True), (DEPTH_MAX + 1, False)):
        text = b"[" * depth + b"1" + b"]" * depth
        if is_right:
            assert load_json(text) == json.loads(text)
        else:
            with pytest.raises(ValueError, match="nested deeper"):
                load_json(text)
    many = json.dumps([[{"a": "[" * 500}]] * 100).encode()
    assert load_json(many) == json.loads(many)
    alternating = b'{"a":[' * (DEPTH_MAX // 2 + 1) + b"1" + b"]}" * (DEPTH_MAX // 2 + 1)
    with pytest.raises(ValueError, match="nested deeper"):
        load_json(alternating)
    assert load_json(b"[" + b"1," * 99 + b"1]", values_max=100) == [1] * 100
    for text in (b"[" + b"1," * 100 + b"1]", b"[" * 101, b'[{"a": 1}]' * 60):
        with pytest.raises(ValueError, match="more than 100 values"):
            load_json(text, values_max=100)
    for text in (b"", b"[", b"nul", b"\xff", b"\xef\xbb\xbf1"):
        with pytest.raises(ValueError, match=r"JSON|nested"):
            load_json(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[1e999]", "beyond what a double holds"),
        (b"-1e999", "beyond what a double holds"),
        (b"NaN", "NaN, which is not JSON"),
        (b'{"a":-Infinity}', "-Infinity, which is not JSON"),
        (b"9" * (DIGITS_MAX + 1), "more than 100 digits"),
        (b"9" * 5_000, "more than 100 digits"),
        (rb'"\ud83d"', "half of a surrogate pair"),
        (rb'{"\uDFFF":1}', "half of a surrogate pair"),
        (rb'["\ude42\ud83d"]', "half of a surrogate pair"),
        (b"\xed\xa0\xbd", "not JSON in UTF-8"),
    ],
)
def test_what_could_not_be_written_again_is_refused(text, reason):
    """N-R1: Python's parser accepts more than JSON allows."""
    with pytest.raises(ValueError, match=reason):
        load_json(text)
    with pytest.raises(CanonicalError):
        load_file(text)


def test_all_else_is_read():
    """N-R1: the bounds refuse no useful value."""
    for text in (b"1e308", b"-0.0", b"9" * DIGITS_MAX, rb'"\ud83d\ude42\\ud800"', b'"NaN"'):
        assert load_json(text) == load_file(text) == json.loads(text)


def test_strings_are_told_from_brackets():
    """All kinds of escapes, before brackets that count and around brackets that do not."""
    deep, flat = b"[" * 100, b"[" * 40 + b"1" + b"]" * 40
    for inside in (rb"\\", rb"\"", rb"\\\"", rb"\\\\", rb"\"\"[", rb"\\\"[{", rb"\u0022"):
        right = b'[[["' + inside + deep + rb'\\",' + flat + b',"' + inside + b'"]]]'
        assert load_json(right) == json.loads(right)
        with pytest.raises(ValueError, match="nested deeper"):
            load_json(b'["' + inside + b'",' + deep + b"]" * 101)
    for wrong in (rb"\"" + deep, rb"[\"," + deep + b'"', rb'["a"\\"' + deep + b']"'):
        with pytest.raises(ValueError, match=r"nested|JSON"):
            load_json(wrong)
    with pytest.raises(ValueError, match="more than 100 values"):
        load_json(b"[" * 65 + b'"' * 500, values_max=100)


PARTS = st.sampled_from([b"[", b"]", b"{", b"}", b'"', b"\\", b",", b":", b"1", b"[" * 70, b"a"])


@given(st.lists(PARTS, max_size=30))
def test_the_parser_never_goes_deeper_than_the_bound(parts):
    """A text that passes the check is refused by the parser, or its value has bounded depth."""
    try:
        value = load_json(b"".join(parts))
    except ValueError:
        return
    level = [value]
    for _ in range(DEPTH_MAX):
        lists = [item for item in level if isinstance(item, list)]
        objects = [item for item in level if isinstance(item, dict)]
        level = [part for item in lists for part in item]
        level += [part for item in objects for part in item.values()]
    assert not any(isinstance(item, list | dict) for item in level)
