"""The schemas that come with Lowu, from `bundled.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from lowu.contracts.schemas.document_schema import Schema
from lowu.contracts.schemas.schema_tables import read_schema


def _load() -> dict[str, Schema]:
    text = (Path(__file__).with_name("bundled.toml")).read_text(encoding="utf-8")
    found = [read_schema(raw, _refuse, number_min=1) for raw in tomllib.loads(text)["schema"]]
    return {schema.id: schema for schema in found}


def _refuse(table: str, key: str, text: str) -> None:
    raise ValueError(f"bundled.toml: {table}, {key}: {text}")


SCHEMAS: Mapping[str, Schema] = _load()
"""By id."""
