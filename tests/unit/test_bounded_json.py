"""JSON of whoever: the parser is never given what would exhaust its stack."""

import json

import pytest

from institutions.canonical import CanonicalError
from institutions.canonical import load_json as load_file
from node.bounded_json import DEPTH_MAX, load_json

DEEP = "[" * 100_000
IN_A_STRING = f'["\u0122",{DEEP}"]'
"""In UTF-16 its first letter has the byte of a quotation mark."""
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
