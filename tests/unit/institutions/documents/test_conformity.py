"""Documents against their schema: what is refused before anything is registered, and how."""

from dataclasses import replace

import pytest

from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.contracts.schemas.document_schema import FieldRule, FieldType, Schema
from lowu.institutions.documents.conformity import check_document
from lowu.institutions.documents.document import Document, Subject
from lowu.institutions.documents.samples import build_sample, draw_document
from lowu.institutions.package.leaves import Attachment, build_leaves
from lowu.institutions.service.document_file import read_document
from tests.unit.document_world import NOW_S, SUBJECT

TYPES = {kind: f"/{kind.value}" for kind in FieldType}
EVERYTHING = Schema(
    id="all.types/1",
    number=1000,
    valid_days=30,
    sensitivity=0,
    must_disclose=("/text",),
    mandatory=("/list/*/amount",),
    fields={
        **{path: FieldRule(kind) for kind, path in TYPES.items()},
        "/list/*/amount": FieldRule(FieldType.MONEY),
        "/list/*/kind": FieldRule(FieldType.TEXT, is_nullable=True, choices=("a", "b")),
        "/名/a~1b": FieldRule(FieldType.TEXT),
        "/grid/*/*": FieldRule(FieldType.INTEGER),
    },
    subjects={"USCC": "/uscc", "HKID": ""},
)


def document(schema=EVERYTHING, **content):
    drawn = draw_document(schema, 1, NOW_S)
    return replace(drawn, content={**drawn.content, **content})


def flaws(found, schema=EVERYTHING):
    with pytest.raises(ValueError, match="is not as schema") as refused:
        check_document(found, schema)
    return str(refused.value)


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("seed", range(3))
def test_samples_are_as_their_schemas_say(name, seed):
    check_document(build_sample(SCHEMAS[name], seed, NOW_S), SCHEMAS[name])
    drawn = draw_document(SCHEMAS[name], seed, NOW_S)
    check_document(drawn, SCHEMAS[name])
    assert build_leaves(drawn.content, b"s" * 32)


def test_a_sample_is_drawn_for_every_type():
    drawn = draw_document(EVERYTHING, 1, NOW_S)
    check_document(drawn, EVERYTHING)
    assert len(drawn.content["grid"]) == len(drawn.content["grid"][0]) == 2
    assert drawn == draw_document(EVERYTHING, 1, NOW_S) != draw_document(EVERYTHING, 2, NOW_S)
    assert drawn.content["uscc"] == drawn.subject.id_value


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("integer", [0, -5, 2**53 - 1], [True, "1", 1.5, None]),
        ("boolean", [True], [0, "true"]),
        ("text", ["", "中文 é"], [1, None, []]),
        ("decimal", ["1", "-0.50", "007.10"], ["1e5", "1,000.00", "١", 1.5, ".5"]),
        ("currency", ["HKD"], ["hkd", "HK$", "ＨＫＤ"]),
        ("money", ["HKD 1000.50", "CNY -1"], ["1000.50 HKD", "HKD1", "HKD 1,000"]),
        ("date", ["2024-02-29"], ["2023-02-29", "29.02.2024", "2024-2-29", "2024-02-29T00:00:00Z"]),
        ("time", ["2026-03-01T09:00:00+08:00", "2026-03-01T09:00:00.123456789Z"],
         ["2026-03-01T09:00:00", "2026-03-01 09:00:00Z", "2026-13-01T09:00:00Z", "2026-03-01"]),
        ("file", [Attachment(b"x")], ["x", None]),
        ("uscc", ["91440300MA5DEM012D"], ["91440300MA5DEM0120", "91440300ma5dem012d", 9]),
        ("cn_id", ["11010519491231002X"], ["110105194912310021"]),
        ("hkid", ["A123456(3)"], ["A123456(4)"]),
        ("hk_ubi", ["C0012345", "12345678"], ["1234567", "c0012345"]),
        ("mo_id", ["1234567(8)"], ["12345678"]),
        ("any", [None, [1, {"x": "y"}]], []),
    ],
)  # fmt: skip
def test_types(kind, good, bad):
    """N-D6, and what callers mean by a date or an amount."""
    schema = replace(EVERYTHING, subjects={})
    for value in good:
        check_document(document(schema, **{kind: value}), schema)
    for value in bad:
        assert f"/{kind}: " in flaws(document(schema, **{kind: value}), schema), value


def test_texts_are_kept_as_they_are():
    """Amounts with their currency and times with their zone keep their text."""
    texts = {"money": "HKD 0001000.50", "time": "2026-03-01T09:00:00+08:00", "decimal": "007.10"}
    found = document(**texts)
    check_document(found, EVERYTHING)
    values = {leaf.path: leaf.value for leaf in build_leaves(found.content, b"s" * 32)}
    assert {name: values[f"/{name}"] for name in texts} == texts


def test_every_flaw_is_told_with_its_path():
    found = document(
        integer="1",
        list=[{"amount": "HKD 1", "kind": "c"}, {"kind": None}, 5],
        名={"a/b": 1, "b": 2},
        intger=3,
        grid=[[1], 2],
    )
    del found.content["text"]
    told = flaws(found)
    for line in (
        "/integer: '1' must be an integer",
        "/list/0/kind: 'c' must be one of a, b",
        "/list/1/amount: is missing, and the schema needs it",
        "/list/2: 5 must be an object",
        "/名/a~1b: 1 must be a text",
        "/名/b: the schema has no such field; known: a~1b",
        "/intger: the schema has no such field; did you mean 'integer'?",
        "/grid/1: 2 must be a list",
        "/text: is missing, and a holder may not hide it",
    ):
        assert line in told, told


def test_an_empty_document_and_one_with_a_thousand_flaws():
    """N-D6: `content: {}` was registered, and then refused as if its holder hid something."""
    empty = Document("cn.ecr/1", SUBJECT, NOW_S, {})
    assert "/header/report_no: is missing" in flaws(empty, SCHEMAS["cn.ecr/1"])
    many = document(**{f"x{n}": 1 for n in range(1000)})
    assert flaws(many).count("\n") == 21 and flaws(many).endswith("and more")


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        (Subject("CN_ID", "1"), "subject: its type must be USCC or HKID, not 'CN_ID'"),
        (Subject("HKID", "A123456(4)"), "subject: 'A123456(4)' is not a Hong Kong identity card"),
        (Subject("USCC", SUBJECT.id_value), "is not the number of the subject"),
    ],
)
def test_the_subject_is_who_the_document_is_about(subject, text):
    assert text in flaws(replace(document(), subject=subject))


def test_names_of_paths_are_no_way_around():
    """A field name with a slash, or that looks like a path, is that field only."""
    assert "/header~1report_no: the schema has no such field" in flaws(
        replace(document(), content={**document().content, "header/report_no": "x"})
    )


DISCLOSING = replace(
    EVERYTHING,
    fields={"/r": FieldRule(FieldType.ANY), "/l/*/a": FieldRule(FieldType.TEXT),
            "/l/*/b": FieldRule(FieldType.TEXT)},
    mandatory=(), subjects={},
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "content", "is_fit"),
    [
        ("/r/a", {"r": {"a": 1}}, True),
        ("/r/a", {"r": 5}, False),
        ("/r/a", {"r": []}, False),
        ("/r/a", {"r": [{"a": 1}]}, False),
        ("/r/0", {"r": [1]}, True),
        ("/r/00", {"r": [1]}, False),
        ("/l/0/a", {"l": []}, False),
        ("/l/1", {"l": [{"a": "x"}]}, False),
        ("/l/0/a", {"l": [{"a": "x"}, {"b": "y"}]}, True),
        ("/l", {"l": []}, True),
    ],
)
def test_what_may_not_be_hidden_is_there(path, content, is_fit):
    """As a receiver looks for it: what was issued all the same was refused for certain."""
    schema = replace(DISCLOSING, must_disclose=(path,))
    found = Document(schema.id, SUBJECT, NOW_S, content)
    if is_fit:
        check_document(found, schema)
    else:
        assert f"{path}: is missing, and a holder may not hide it" in flaws(found, schema)


def test_a_thousand_flaws_cost_no_more_than_twenty():
    """20,000 empty elements against 500 mandatory paths took a quarter of a minute."""
    names = [f"/l/*/x{number}" for number in range(500)]
    schema = replace(
        EVERYTHING, fields={name: FieldRule(FieldType.ANY) for name in names},
        must_disclose=(), mandatory=tuple(names), subjects={},
    )  # fmt: skip
    found = Document(schema.id, SUBJECT, NOW_S, {"l": [{} for _ in range(20_000)]})
    visited = []

    class Watched(dict):
        def get(self, *arguments):
            visited.append(arguments)
            return super().get(*arguments)

    found.content["l"] = [Watched() for _ in range(20_000)]
    assert "and more" in flaws(found, schema)
    assert len(visited) < 100


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "e\u0301",
            "'e' (U+0065) in a text that is not in Unicode NFC, which has 'é' (U+00E9) there",
        ),
        (
            "\ufa19\u7530",
            "(U+FA19) in a text that is not in Unicode NFC, which has '神' (U+795E) there",
        ),
        ("x" * 70_000, "a text of 70000 characters; at most 65536"),
    ],
)
def test_texts_that_cannot_be_packaged_are_told_with_their_path(text, told):
    """N-D2: tracebacks, or a refusal that named neither the field nor the character."""
    with pytest.raises(ValueError, match=r"^/annex/0: ") as refused:
        build_leaves({"annex": [text]}, b"s" * 32)
    assert told in str(refused.value)


def test_where_too_many_leaves_are_is_told():
    with pytest.raises(ValueError, match=r"^/annex: 601 of the document's 603 leaves are there"):
        build_leaves({"few": 1, "annex": [1] * 600}, b"s" * 32)


def test_half_of_a_character_is_told_with_what_stands_before_it():
    with pytest.raises(ValueError, match=r"half of a surrogate pair, after .*name.*深圳"):
        read_document(rb'{"name": "\u6df1\u5733\ud800"}')
