"""Files that are given where another kind is meant."""

import json

import click
import pytest

from lowu.arguments import read_form, read_sealed
from lowu.institutions.exchange.request import decode_request
from lowu.institutions.package.format import decode_package
from lowu.institutions.service.document_file import read_document

DOCUMENT = {
    "schema": "cn.ecr/1",
    "subject": ["USCC", "91440399MA1AW6MB9H"],
    "report_time": 1,
    "content": {},
}


def write(path, value):
    path.write_bytes(
        value
        if isinstance(value, bytes)
        else json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    )
    return path


@pytest.mark.parametrize(
    ("decode", "value", "told"),
    [
        (decode_package, {"format": "dvp2-request"}, "it is a request (dvp2-request), not a pack"),
        (decode_request, {"format": "dvp1"}, "it is a package (dvp1), not a request"),
        (decode_request, {"format": ["x"]}, "it is a file without a format, not a request"),
        (decode_request, {"format": "zip" * 99}, "it is a file of format 'zipzip"),
        (decode_package, DOCUMENT, "it is a document. `lowu issue`"),
        (decode_package, b"\xdf\xb5", "it is not JSON. What `lowu present` has sealed"),
        (decode_package, b"[" + b"0," * 300_000 + b"0]", "more than 100000 values"),
        (decode_package, {"a": 1}, "it is a file without a format"),
        (read_document, {"format": "dvp2"}, "not a document, but a package (dvp2)"),
    ],
)
def test_what_a_file_is_is_told_where_another_is_meant(tmp_path, decode, value, told):
    path = write(tmp_path / "some.file", value)
    with pytest.raises(click.UsageError) as refused:
        read_form(path, decode, "a thing")
    message = refused.value.message
    assert message.startswith(f"{path} cannot be read as a thing: ")
    assert told in message and len(message) < 400


def test_only_what_may_be_sealed_is_verified(tmp_path):
    for sealed in (b"\xdf\xb5", b"", b"[", bytes(100)):
        assert read_sealed(write(tmp_path / "sealed.bin", sealed)) == sealed
    for value, told in (
        (DOCUMENT, "it is a document"),
        ({"format": "dvp2"}, "it is a package (dvp2)"),
        ({"a": 1}, "it is JSON"),
    ):
        with pytest.raises(click.UsageError) as refused:
            read_sealed(write(tmp_path / "some.json", value))
        assert told in refused.value.message and "lowu present" in refused.value.message
