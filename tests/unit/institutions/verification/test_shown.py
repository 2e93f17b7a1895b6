"""What a receiver is shown: the document again, with marks for what is hidden."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from lowu.institutions.documents.document import Document
from lowu.institutions.documents.times import tell_time
from lowu.institutions.package.leaves import LEAVES_MAX, Attachment, Leaf, LeafType, build_leaves
from lowu.institutions.verification.report import (
    describe_report,
    encode_shown,
    read_report,
    render_html,
    render_text,
)
from lowu.institutions.verification.shown import collect_shown, read_shown_document
from lowu.institutions.verification.verdicts import Check, Verdict, VerdictCode
from lowu.institutions.verification.wording import WORDINGS
from tests.unit.document_world import NOW_S, SUBJECT, World, resigned

NAMES = {1: "szcredit (Shenzhen Credit Service, 深圳征信)"}
SEED = b"s" * 32


def show(content, *paths, version=2):
    """Return what is shown of a document of which some leaves are disclosed; all, without any."""
    header = replace(World().package.header, v=version)
    leaves = [leaf for leaf in build_leaves(content, SEED) if leaf.type is not LeafType.PAD]
    chosen = [leaf for leaf in leaves if not paths or leaf.path in paths]
    return collect_shown(SimpleNamespace(header=header, disclosures=chosen), {})


CONTENT = {
    "name": "深圳某公司",
    "count": -3,
    "amount": "12.50",
    "since": "2020-02-29",
    "zone": "2026-03-01T09:00:00+08:00",
    "none": None,
    "yes": True,
    "no": False,
    "empty": {"list": [], "object": {}},
    "nested": [[1, 2], [{"a/b": "~", "": 0}]],
}


def test_a_document_shown_in_full_is_that_document():
    shown = show(CONTENT)
    assert shown.content == CONTENT
    assert shown.hidden == {}


def test_what_is_proven_not_to_be_there_is_told():
    content = {"list": [{"v": 1}, {"v": 2}], "b": 1}
    leaves = [leaf for leaf in build_leaves(content, SEED) if leaf.path in ("/list", "/list/0/v")]
    shown = SimpleNamespace(header=World().package.header, disclosures=leaves)
    told = collect_shown(
        shown, {}, None, ["/list/2/v", "/list/1/v", "/list/0", "/list", "/b", "/c"]
    )
    assert told.absent == ("/list/2/v",)
    assert told.describe()["absent"] == ["/list/2/v"]
    assert read_shown_document(told.describe()) == told
    assert ("/list/2/v", "[not in the document]") in list(told.list_fields())


def test_hidden_fields_leave_marks():
    content = {"a": {"x": 1, "y": 2, "z": 3}, "list": [{"v": 1}, {"v": 2}, {"v": 3}], "b": 1}
    shown = show(content, "", "/a", "/a/x", "/list", "/list/1", "/list/1/v")
    assert shown.content == {
        "a": {"x": 1, "...": 2},
        "list": [{"...": 1}, {"v": 2}, {"...": 1}],
        "...": 1,
    }
    assert shown.hidden == {"": 1, "/a": 2, "/list": 2}
    assert list(shown.list_fields()) == [
        ("/a/x", "1"),
        ("/a/...", "[2 hidden]"),
        ("/list/0", "[hidden]"),
        ("/list/1/v", "2"),
        ("/list/2", "[hidden]"),
        ("/...", "[1 hidden]"),
    ]


def test_the_number_is_unknown_where_a_container_hides_its_size():
    shown = show({"a": {"x": 1, "y": 2}, "list": ["p", "q", "r"]}, "/a/x", "/list/1")
    assert shown.content == {
        "a": {"x": 1, "...": None},
        "list": [{"...": 1}, "q", {"...": None}],
        "...": None,
    }
    assert shown.hidden == {"": None, "/a": None, "/list": None}


def test_no_document_imitates_a_mark():
    content = {"...": 3, "....": [{"...": 1}]}
    assert show(content).content == {"....": 3, ".....": [{"....": 1}]}
    assert [path for path, _ in show(content).list_fields()] == ["/....", "/...../0/...."]


def test_no_text_is_taken_for_a_mark_or_another_line():
    """What an issuer wrote was printed to the holder as a line of its own."""
    rows = {"...": "[2 hidden]", "a": "null", "b": "x\nwarning: all is well", "c": "", "d": None}
    told = dict(show(rows).list_fields())
    assert told == {
        "/....": '"[2 hidden]"',
        "/a": '"null"',
        "/b": '"x\\nwarning: all is well"',
        "/c": '""',
        "/d": "null",
    }


def test_positions_that_no_document_has_cost_nothing():
    """A hostile issuer may sign them; written out, they would fill the receiver's memory."""
    header = World().package.header
    far = [
        Leaf(0, "/a/9999999999999999", "oa", LeafType.NULL, "", SEED),
        *(Leaf(n, f"/b{n}/511", "oa", LeafType.NULL, "", SEED) for n in range(1, 400)),
    ]
    shown = collect_shown(SimpleNamespace(header=header, disclosures=far), {})
    assert shown.content["a"] == {"9999999999999999": None, "...": None}
    assert sum(isinstance(item, list) for item in shown.content.values()) == 1
    assert len(json.dumps(shown.describe())) < 100 * LEAVES_MAX


def test_version_1_tells_no_array_from_an_object():
    leaves = [
        Leaf(0, "/list/0", "", LeafType.STRING, "a", SEED),
        Leaf(1, "/empty", "", LeafType.ARRAY, "", SEED),
    ]
    header = replace(World().package.header, v=1)
    shown = collect_shown(SimpleNamespace(header=header, disclosures=leaves), {})
    assert shown.content == {"list": {"0": "a", "...": None}, "empty": [], "...": None}


async def test_the_report_carries_what_is_shown():
    world = World()
    report = await world.verify(world.show(world.ask(fields=("/summary/lenders",))))
    assert report.verdict is Verdict.ACCEPT
    shown = report.shown
    assert shown.content["summary"]["lenders"] == 5
    assert shown.content["header"]["uscc"] == SUBJECT.id_value
    assert "legal_representative" not in json.dumps(shown.describe())
    assert (shown.schema, shown.issuer_org, shown.report_time) == ("cn.ecr/1", 1, NOW_S)
    described = json.loads(json.dumps(describe_report(report, NAMES)))
    assert read_report(described) == report
    assert described["shown"]["issuer"] == NAMES[1]
    assert json.loads(encode_shown(report, NAMES))["content"] == shown.content


async def test_fields_stand_in_the_order_of_the_schema():
    """Their leaves stand in the order of their salts, which is another for each document."""
    world = World()
    report = await world.verify(world.show())
    assert json.dumps(report.shown.content) == json.dumps(world.document.content)


async def test_nothing_is_shown_of_a_rejection_unless_it_is_asked_for():
    world = World()
    shown = resigned(world.show(), subject_salt=b"x" * 32)
    report = await world.verify(shown)
    assert (report.verdict, report.shown) == (Verdict.REJECT, None)
    assert describe_report(report)["shown"] is None
    told = json.loads(encode_shown(report))
    assert (told["verdict"], told["content"]) == ("REJECT", None)
    assert "Trading Co" not in render_text(report) + render_html(report, "a report")
    asked = await world.verify(shown, show_rejected=True)
    assert asked.verdict is Verdict.REJECT
    assert asked.shown.content == world.document.content


async def test_files_are_shown_by_digest_and_size():
    image = Attachment(b"an image" * 100, "image/png")
    document = World().document
    content = {**document.content, "annex": {"image": image}}
    world = World(Document(document.schema, SUBJECT, NOW_S, content))
    report = await world.verify(world.show(), files={"/annex/image": image.data})
    (file,) = report.shown.attachments
    assert (file.path, file.digest, file.size) == ("/annex/image", image.digest.hex(), 800)
    assert (file.media_type, file.is_compared) == ("image/png", True)
    missing = await world.verify(world.show())
    assert missing.verdict is Verdict.INDETERMINATE
    assert not missing.shown.attachments[0].is_compared
    other = await world.verify(world.show(), files={"/annex/image": b"other"}, show_rejected=True)
    assert not other.shown.attachments[0].is_compared


async def test_people_read_names_and_times():
    """Neither `org: 1` nor seconds since 1970 (a bank's own reading of its reports)."""
    world = World()
    report = await world.verify(world.show())
    text, page = render_text(report, NAMES), render_html(report, "at nova", NAMES)
    assert f"issuer: {NAMES[1]}" in text and f"issuer: {NAMES[1]}" in page
    assert f"checked at: {tell_time(NOW_S + 60)}" in text
    assert tell_time(NOW_S) == "2027-01-15T08:00:00Z"
    assert str(NOW_S + 60) not in text and str(NOW_S + 60) not in page
    assert "/summary/lenders" in text and "/summary/lenders" in page
    chinese = render_text(report, NAMES, "zh")
    assert chinese.startswith("ACCEPT: 文件真实")
    assert f"签发机构: {NAMES[1]}" in chinese


@pytest.mark.parametrize("language", WORDINGS)
def test_every_check_code_and_verdict_has_its_words(language):
    wording = WORDINGS[language]
    assert set(wording.titles) == set(Check)
    assert set(wording.codes) == set(VerdictCode)
    assert set(wording.sentences) == set(Verdict)


def test_languages_label_the_same_evidence():
    english, chinese = WORDINGS.values()
    assert set(english.labels) == set(chinese.labels)
