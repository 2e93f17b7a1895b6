"""An invented document of each schema: those of Lowu are built by hand, others field by field."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lowu.contracts.named import Named
from lowu.contracts.schemas.document_schema import EACH, FieldRule, FieldType, Schema
from lowu.institutions.documents.document import (
    Document,
    Subject,
    build_enterprise_report,
    build_kyc_file,
    build_owner_report,
)
from lowu.institutions.documents.personal import (
    build_asset_certificate,
    build_health_extract,
    build_hk_company_report,
    build_hk_personal_report,
    build_personal_report,
    build_residence_proof,
    build_transcript,
)
from lowu.institutions.documents.sample_generator import SampleGenerator
from lowu.institutions.package.forms import split_path

ELEMENTS = 2
"""How many elements each list of a drawn document has."""

SAMPLES: Named[Callable[[int, int], Document]] = Named(
    "sample of schema",
    {
        "cn.ecr/1": build_enterprise_report,
        "cn.pcr/1": build_personal_report,
        "cn.smeowner/1": build_owner_report,
        "grp.kyc/1": build_kyc_file,
        "hk.ecr/1": build_hk_company_report,
        "hk.pcr/1": build_hk_personal_report,
        "cn.edu/1": build_transcript,
        "hk.ehr/1": build_health_extract,
        "mo.asset/1": build_asset_certificate,
        "svc.residence/1": build_residence_proof,
    },
)
"""By schema: seed and time (seconds) give a document. `hk.ehr/1` has an image."""


def build_sample(schema: Schema, seed: int, now_s: int) -> Document:
    """Return an invented document of a schema; the same seed and time give the same document."""
    build = SAMPLES.get(schema.id)
    return draw_document(schema, seed, now_s) if build is None else build(seed, now_s)


def draw_document(schema: Schema, seed: int, now_s: int) -> Document:
    """Return a document whose every field is drawn by its type."""
    make = SampleGenerator(seed, now_s)
    kind, where = next(iter(schema.subjects.items()), ("USCC", ""))
    number = make.value(FieldType(kind.lower()))
    content: dict[str, Any] = {}
    for path, rule in schema.fields.items():
        steps = split_path(path)
        for place in _spread(steps):
            _put(content, place, number if path == where else _draw(make, rule, steps[-1]))
    return Document(schema.id, Subject(kind, number), now_s, content)


def _draw(make: SampleGenerator, rule: FieldRule, name: str) -> Any:
    if rule.choices:
        return make.random.choice(rule.choices)
    return make.value(rule.type, name)


def _spread(steps: tuple[str, ...]) -> Iterable[tuple[str | int, ...]]:
    """Return a path with each step ``*`` replaced by each of some positions."""
    found: list[tuple[str | int, ...]] = [()]
    for step in steps:
        choices = range(ELEMENTS) if step == EACH else (step,)
        found = [(*place, choice) for place in found for choice in choices]
    return found


def _put(content: Any, place: tuple[str | int, ...], value: Any) -> None:
    """Put a value at a place, with the objects and lists on the way."""
    here = content
    for step, following in zip(place, (*place[1:], None), strict=True):
        fresh: Any = value if following is None else [] if isinstance(following, int) else {}
        if isinstance(here, list):
            if step == len(here):
                here.append(fresh)
        else:
            here.setdefault(step, fresh)
        here = here[step]
