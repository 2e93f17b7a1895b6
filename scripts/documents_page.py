"""Write docs/DOCUMENTS.md: the files of documents, and an example of each kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lowu.commands.schema import TEMPLATE
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.contracts.schemas.document_schema import FieldType, Schema
from lowu.institutions.documents.conformity import FIELD_WORDS
from lowu.institutions.documents.samples import build_sample

PAGE = Path(__file__).resolve().parents[1] / "docs" / "DOCUMENTS.md"
NOW_S = 1_800_000_000
HEAD = """\
# Documents and their schemas

A document is a JSON file of four keys. `lowu sample SCHEMA` writes one with invented content, and
`lowu issue` reads it. This page is written from the code by `scripts/generate_docs.py`.

| key | what it is |
|---|---|
| schema | the id of its kind, such as `cn.ecr/1` |
| subject | who it is about: the type of an identifier and its number |
| report_time | when it was drawn up, in seconds since 1970; not in the future |
| content | an object with the fields that the schema has, and no others |

Field names may be in any script, in Unicode NFC. A value is a text, an integer, true, false, null,
a list or an object. Amounts and other numbers with a fraction are texts, and are kept as they are
written: `"12.50"` stays `"12.50"`, and a time keeps its zone. No key may stand twice in an object.
A document has at most 512 fields, lists and objects counted too.

Files are not in the JSON: `lowu issue --attach /annex/scan=scan.png` puts one at a path, and it
travels beside the package. Only its digest, size and media type stand in the document.
A desk takes them with the order ([Desks](DESKS.md)).

Before anything is registered, `lowu issue` compares the document with its schema, and tells every
flaw with its path. It also asks the ledger whether the receiver is a member with the role VERIFIER,
whether a route leads to its jurisdiction, and whether the schema's rules there are those known
here.

## A schema of your own

`lowu schema new mo.loan/1` writes the beginning of one:

```toml
{template}```

Put the table into a network file, and name the schema in the `schemas` of an institution there; or
propose it to a running consortium:

```sh
lowu up
lowu schema new mo.loan/1
lowu org propose schema schema.toml --by qianhai-ix
for voter in qianhai-ix webank hkstp; do lowu org vote 1 --by $voter; done
lowu org propose accredit szcredit mo.loan/1 --by qianhai-ix
for voter in qianhai-ix webank hkstp; do lowu org vote 2 --by $voter; done
lowu sample mo.loan/1 -o loan.json
lowu issue loan.json --by szcredit --for nova --holder ana
lowu down
```

The second proposal lets an institution issue it. The ledger has
a hash of the rules, not the rules: every institution and holder must know the table. A receiver
refuses a document if the ledger has other rules for its schema (SCHEMA_MISMATCH). `lowu schema
list` and `lowu schema show SCHEMA` show what is known here; `lowu sample` writes documents of
every schema, field by field.

A field's path is a JSON Pointer (RFC 6901) whose step `*` stands for each element of a list. Its
value in the table is a type, or a table of the type and `null = true`, if null is allowed too, or
`one_of = […]`, if only some texts are. A path in `must_disclose` may name a whole list or object.
What is mandatory below a list must be there in each of its elements.

| type | a value must be |
|---|---|
{types}

## The schemas that come with Lowu

Each has `/annex` for what an issuer adds of its own. The examples are shortened: of each list, one
element is left. `lowu sample` writes them whole.
"""


def render() -> str:
    """Return the page."""
    types = "\n".join(f"| `{kind.value}` | {FIELD_WORDS[kind]} |" for kind in FieldType)
    template = TEMPLATE.format(id='"mo.loan/1"', number=1001, file="schema.toml")
    head = HEAD.format(template=template, types=types)
    return head + "".join(_render_schema(schema) for schema in SCHEMAS.values())


def _render_schema(schema: Schema) -> str:
    document, files = build_sample(schema, 1, NOW_S).detach()
    raw = {
        "schema": document.schema,
        "subject": [document.subject.id_type, document.subject.id_value],
        "report_time": document.report_time_s,
        "content": _shorten(document.content),
    }
    text = json.dumps(raw, ensure_ascii=False, indent=1)
    attached = [f"It has a file at `{path}`, beside the JSON." for path in files]
    shown = ", ".join(f"`{path}`" for path in schema.must_disclose)
    facts = (
        f"Number {schema.number}, valid {schema.valid_days} days, sensitivity "
        f"{schema.sensitivity}. A holder may not hide {shown}."
    )
    return "\n".join(
        [
            "",
            f"### {schema.id}: {schema.name} ({schema.name_zh})",
            "",
            facts,
            *attached,
            "",
            "```json",
            text,
            "```",
            "",
        ]
    )


def _shorten(value: Any) -> Any:
    match value:
        case dict():
            return {key: _shorten(item) for key, item in value.items()}
        case list():
            return [_shorten(item) for item in value[:1]]
    return value
