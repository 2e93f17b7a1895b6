"""The file of a document that is to be issued: JSON with schema, subject, times and content.

Its form is described in docs/DOCUMENTS.md.
"""

from __future__ import annotations

import json
from typing import Any

from lowu.institutions.documents.document import Document, Subject
from lowu.institutions.package.canonical import CanonicalError, load_json
from lowu.institutions.package.format import name_format
from lowu.institutions.package.forms import FormError, read_integer, read_row, read_text


def read_document(data: bytes) -> Document:
    """Return the document in a file: an object with schema, subject, report_time and content.

    Raises:
        ValueError: it is not a document.
    """
    try:
        return _read_document(load_json(data))
    except CanonicalError as error:
        raise ValueError(f"not a document, but {error}") from error
    except ValueError as error:
        raise ValueError(
            f"{error}. A document is an object with schema, subject [type, number], report_time "
            "(seconds since 1970) and content"
        ) from error


_DOCUMENT_KEYS = ("schema", "subject", "report_time", "content")


def _read_document(raw: Any) -> Document:
    if not isinstance(raw, dict):
        raise ValueError("not a document")  # noqa: TRY004  (of a file, not of an argument)
    if "format" in raw:
        raise ValueError(f"not a document, but {name_format(raw['format'])}")
    missing = [key for key in _DOCUMENT_KEYS if key not in raw]
    unknown = [key for key in raw if key not in _DOCUMENT_KEYS]
    if missing or unknown:
        what = f"{missing[0]} is missing" if missing else f"unknown key {unknown[0][:40]!r}"
        raise ValueError(f"not a document: {what}")
    try:
        id_type, id_value = read_row(raw["subject"], 2, "subject")
    except FormError as error:
        raise ValueError('not a document: subject is a list such as ["USCC", "9144…"]') from error
    if not isinstance(raw["content"], dict):
        raise ValueError("not a document: content is not an object")  # noqa: TRY004
    try:
        return Document(
            read_text(raw["schema"], "schema"),
            Subject(read_text(id_type, "subject's type"), read_text(id_value, "subject's number")),
            read_integer(raw["report_time"], "report_time"),
            raw["content"],
        )
    except FormError as error:
        raise ValueError(f"not a document: {error}") from error


def write_document(document: Document) -> bytes:
    """Return a document as the content of a file."""
    raw = {
        "schema": document.schema,
        "subject": [document.subject.id_type, document.subject.id_value],
        "report_time": document.report_time_s,
        "content": document.content,
    }
    return json.dumps(raw, ensure_ascii=False, indent=1).encode()
