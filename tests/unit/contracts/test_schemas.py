"""Schemas as tables: read with every flaw told, written, and the same text for everybody."""

import tomllib
from dataclasses import replace

import pytest

from lowu.contracts.registry import Jurisdiction
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.contracts.schemas.document_schema import FieldRule, FieldType
from lowu.contracts.schemas.schema_tables import find_field_flaw, read_schema, write_schema

LOAN = """
[[schema]]
id = "mo.loan/2"
number = 1001
name = "Loan"
name_zh = "贷款证明"
jurisdiction = "MO"
valid_days = 30
max_age_days = 10
sensitivity = 1
witnesses = 2
across = true
must_disclose = ["/header/no", "/姓名"]
mandatory = ["/loans/*/amount"]
subjects = { MO_ID = "/header/id" }

[schema.fields]
"/header/no" = "text"
"/header/id" = "mo_id"
"/姓名" = "text"
"/loans/*/amount" = "money"
"/loans/*/kind" = { type = "text", null = true, one_of = ["a", "b\\"\\\\"] }
"/a~1b/m~0n" = "any"
"""


def read(text, number_min=1000):
    told = []
    (raw,) = tomllib.loads(text)["schema"]
    schema = read_schema(raw, lambda *problem: told.append(problem), number_min)
    return schema, told


def test_a_table_is_read():
    schema, told = read(LOAN)
    assert told == []
    assert (schema.id, schema.version, schema.number) == ("mo.loan/2", 2, 1001)
    assert schema.jurisdiction is Jurisdiction.MO
    assert (schema.valid_days, schema.max_age_s) == (30, 10 * 86_400)
    assert schema.needed == ("/header/no", "/姓名", "/loans/*/amount")
    assert schema.fields["/loans/*/kind"] == FieldRule(FieldType.TEXT, True, ("a", 'b"\\'))
    assert (schema.witnesses, schema.is_cross_witnessed) == (2, True)


@pytest.mark.parametrize("name", [*SCHEMAS, "own"])
def test_what_is_written_is_read_again(name):
    schema = read(LOAN)[0] if name == "own" else SCHEMAS[name]
    again, told = read(write_schema(schema), number_min=1)
    assert (again, told) == (schema, [])
    assert again.digest == schema.digest


def test_every_rule_changes_the_digest_and_names_do_not():
    schema, _ = read(LOAN)
    changes = [
        {"id": "mo.loan/3"}, {"number": 1002}, {"valid_days": 31}, {"max_age_days": 11},
        {"sensitivity": 2}, {"jurisdiction": None}, {"must_disclose": ("/header/no",)},
        {"mandatory": ()}, {"subjects": {}},
        {"fields": {**schema.fields, "/x": FieldRule(FieldType.ANY)}},
        {"fields": {**schema.fields, "/header/no": FieldRule(FieldType.TEXT, True)}},
    ]  # fmt: skip
    digests = {schema.digest, *(replace(schema, **change).digest for change in changes)}
    assert len(digests) == len(changes) + 1
    assert replace(schema, name="other", name_zh="", witnesses=0).digest == schema.digest


def test_a_schema_that_is_in_use_does_not_change():
    """The ledger has the hash of its rules: a changed schema is another number."""
    assert {name: schema.digest.hex()[:16] for name, schema in SCHEMAS.items()} == DIGESTS
    assert [schema.number for schema in SCHEMAS.values()] == list(range(1, 11))


DIGESTS = {
    "cn.ecr/1": "dcbeb266f7792fad",
    "cn.pcr/1": "88a5433f61204542",
    "cn.smeowner/1": "c99841d2ba516ef6",
    "grp.kyc/1": "4f9bb8ae788d97ff",
    "hk.ecr/1": "2475257f1304226d",
    "hk.pcr/1": "d25d5fbe71141ff1",
    "cn.edu/1": "3037b28f4c8d3b2c",
    "hk.ehr/1": "2c45af09133704a0",
    "mo.asset/1": "9465247ffb9fe5bf",
    "svc.residence/1": "41124514a858bc39",
}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('id = "mo.loan/2"', 'id = "Loan"', 'id must be lower-case words and a version, as "mo.'),
        ('id = "mo.loan/2"', 'id = "a/65536"', "the version must be at most 65535"),
        ("number = 1001", "number = 7", "number must be an integer in 1000..4294967295, not 7"),
        ("number = 1001", "", "number is missing; add number ="),
        ("valid_days = 30", "valid_day = 30", "unknown key 'valid_day'; did you"),
        ("sensitivity = 1", "sensitivity = true", "must be an integer in 0..3, not True"),
        ('"MO"\n', '"XX"\n', "jurisdiction must be one of SZ, HK, MO, SG"),
        ("witnesses = 2", "", "across needs witnesses = 1 or more"),
        ("across = true", "across = 1", "across must be true or false"),
        ('["/header/no"', '["header/no"', "it begins with a slash, as /header/no"),
        ('["/header/no"', '["/header/nos"', "did you mean /header/no?"),
        ('["/header/no"', '["/loans/*/kind"', "name the whole array"),
        ('"/loans/*/amount"]', '"/loans/x"]', "/loans is an array, whose elements are /0, /1"),
        ('"/loans/*/amount"]', '"/姓名/x"]', "/姓名 is a value and has no fields"),
        ("MO_ID =", "MOID =", "subjects: 'MOID' is unknown; known: CN_ID, HKID, HK_UBI, MO_ID"),
        ('"/header/id" }', '"/header/di" }', "/header/di is no field of this schema"),
        ('= "money"', '= "mony"', "type 'mony' is unknown; did you mean 'money'?"),
        ('"/a~1b/m~0n"', '"/a~b"', "write ~0 for ~"),
        ('"/a~1b/m~0n"', '"/姓名/x"', "/姓名/x lies inside the field /姓名; remove one"),
        ('"/a~1b/m~0n"', '"/loans/first"', "* and names exclude each other"),
        ('"/a~1b/m~0n"', '"/e\\u0301"', "is not in Unicode NFC"),
        ('"any"', '{ type = "integer", one_of = ["1"] }', "one_of is a list of texts, for type"),
        ('"any"', '{ typ = "any" }', "unknown key 'typ'; did you mean 'type'?"),
    ],
)  # fmt: skip
def test_flaws_are_told(old, new, problem):
    assert old in LOAN
    _, told = read(LOAN.replace(old, new, 1))
    assert any(problem in text for _, _, text in told), told


def test_every_flaw_of_a_table_is_told_at_once():
    _, told = read('[[schema]]\nid = 1\nnumber = "x"\nfieldz = 2\n')
    assert len(told) == 5


@pytest.mark.parametrize(
    "path",
    ["", "/header", "/header/no", "/loans", "/loans/0", "/loans/12/amount", "/a~1b/m~0n/deep"],
)
def test_paths_that_documents_may_have(path):
    assert find_field_flaw(path, read(LOAN)[0].fields) == ""


@pytest.mark.parametrize(
    "path", ["/heder", "/header/x", "/header/no/x", "/loans/01", "/loans/x", "/姓"]
)
def test_paths_that_no_document_has(path):
    assert find_field_flaw(path, read(LOAN)[0].fields).startswith(f"{path}: ")
