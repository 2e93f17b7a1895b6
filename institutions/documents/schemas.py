"""What follows from a schema for the documents of each profile and version."""

from __future__ import annotations

from collections.abc import Mapping

from lowu.contracts.schemas.document_schema import DAY_S, Schema
from lowu.institutions.package.format import FILE_PATH, Profile
from lowu.institutions.package.tags import FIRST_VERSION, VERSION

MAX_REGISTRATION_DELAY_S = DAY_S
"""Longest time from issuing to registration, for every schema."""
CLOCK_AHEAD_S = 120
"""How far an institution's clock may be ahead of the ledger's or of another's (threat T10)."""
SENSITIVE = 2
"""From this sensitivity on, a separate consent is needed."""

Schemas = Mapping[str, Schema]
"""The schemas that an institution or holder knows, by id."""


def must_disclose(schema: Schema, profile: Profile, version: int = VERSION) -> tuple[str, ...]:
    """Return the paths that a holder may not hide; a file profile has one field only."""
    if profile is not Profile.FIELDS:
        return (FILE_PATH,)
    is_first = version == FIRST_VERSION and schema.must_disclose_first
    return schema.must_disclose_first if is_first else schema.must_disclose
