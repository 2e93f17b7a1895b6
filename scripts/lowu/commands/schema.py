"""``lowu schema``: the rules of each kind of document, and the beginning of another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowu.arguments import tell_unknown_schema, write_file
from lowu.cli import emit_json
from lowu.office import known_schemas
from lowu.options import directory_option, json_option, output_option, quote
from lowu.output import print_table, say

if TYPE_CHECKING:
    from lowu.contracts.schemas.document_schema import Schema

TEMPLATE = """\
# A document schema. Put this table into a network file, or propose it to a running consortium:
#
#     lowu org propose schema {file} --by INSTITUTION
#
# A schema that is registered does not change; a changed one has another version and number.

[[schema]]
id = {id}
number = {number}            # on the ledger; 1000 or more, and used by no other schema
name = "What people call it"
name_zh = ""
# jurisdiction = "MO"       # where its issuers must be; left out: anywhere
valid_days = 30             # from the day of issue
max_age_days = 30           # of the report; left out: as valid_days
sensitivity = 2             # 0 public to 3; from 2 on, the holder agrees separately
witnesses = 0               # how many institutions must confirm a document
# across = true             # one of them from another jurisdiction
must_disclose = ["/header/number"]              # what a holder may not hide
mandatory = ["/header/issued", "/loans/*/amount"]   # what a document must have besides

# The identifiers that the subject may have, and where its number stands ("" for nowhere):
# USCC, CN_ID, HKID, HK_UBI, MO_ID
subjects = {{ MO_ID = "/borrower/id" }}

# Every field of a document, by its path (JSON Pointer, in any script); * is each element of a list.
# Types: text, integer, decimal, currency, money, boolean, date, time, file, any,
# uscc, cn_id, hkid (with their check digits), hk_ubi, mo_id
[schema.fields]
"/header/number" = "text"
"/header/issued" = "time"
"/borrower/id" = "mo_id"
"/borrower/name" = "text"
"/borrower/姓名" = "text"
"/loans/*/kind" = {{ type = "text", one_of = ["mortgage", "business"] }}
"/loans/*/amount" = "money"
"/loans/*/due" = "date"
"/loans/*/ended" = {{ type = "date", null = true }}
"/remarks" = "any"
"""


@click.group()
def schema() -> None:
    """List, show and begin document schemas."""


@schema.command("list")
@directory_option
@json_option
def list_schemas(directory: Path, is_json: bool) -> None:
    """List all schemas: those that come with Lowu, and those of the network in --dir."""
    known = known_schemas(directory)
    if is_json:
        emit_json(
            True, {"schemas": len(known)}, schemas=[_describe(item) for item in known.values()]
        )
        return
    rows = [
        (
            item.id,
            item.number,
            item.name,
            "any" if item.jurisdiction is None else item.jurisdiction.name,
            f"{item.valid_days} days",
            item.sensitivity,
            len(item.fields),
        )
        for item in known.values()
    ]
    columns = ("schema", "number", "name", "issued in", "valid", "sensitivity", "fields")
    print_table("Document schemas", columns, rows)


@schema.command()
@click.argument("name", metavar="SCHEMA")
@directory_option
@json_option
def show(name: str, directory: Path, is_json: bool) -> None:
    """Show the table of SCHEMA, as it stands in a network file."""
    from lowu.contracts.schemas.schema_tables import write_schema

    known = known_schemas(directory)
    if name not in known:
        raise click.UsageError(tell_unknown_schema(name, known))
    if is_json:
        emit_json(True, {}, **_describe(known[name]))
    else:
        click.echo(write_schema(known[name]), nl=False)


@schema.command()
@click.argument("name", metavar="SCHEMA")
@click.option("--number", type=click.IntRange(1_000, 2**32 - 1), default=1_001, show_default=True)
@output_option("schema.toml")
@json_option
def new(name: str, number: int, output: Path, is_json: bool) -> None:
    """Write the beginning of a schema, SCHEMA such as mo.loan/1, to be changed by hand."""
    import json

    from lowu.contracts.schemas.bundled import SCHEMAS
    from lowu.contracts.schemas.schema_tables import ID, ID_MAX, VERSION_MAX

    version = int(name.rpartition("/")[2]) if ID.match(name) else VERSION_MAX + 1
    if len(name) > ID_MAX or version > VERSION_MAX:
        raise click.UsageError(f"{name!r}: use lower-case words and a version, such as mo.loan/1")
    if name in SCHEMAS:
        raise click.UsageError(f"{name} is taken, by a schema of every network; raise its version")
    if output.exists():
        raise click.UsageError(f"{output} exists; choose another name with -o")
    text = TEMPLATE.format(id=json.dumps(name), number=number, file=output.name)
    write_file(output, text.encode())
    say(
        f"{output}: the beginning of {name}; change it, and then\n"
        f"next: lowu org propose schema {quote(output)} --by …, or put the table into a network "
        "file",
        is_json=is_json,
        file=str(output),
        schema=name,
        number=number,
    )


def _describe(item: Schema) -> dict[str, Any]:
    return {
        "schema": item.id,
        "number": item.number,
        "name": item.name,
        "name_zh": item.name_zh,
        "jurisdiction": None if item.jurisdiction is None else item.jurisdiction.name,
        "valid_days": item.valid_days,
        "max_age_days": item.max_age_days or item.valid_days,
        "sensitivity": item.sensitivity,
        "witnesses": item.witnesses,
        "across": item.is_cross_witnessed,
        "must_disclose": list(item.must_disclose),
        "mandatory": list(item.mandatory),
        "subjects": dict(item.subjects),
        "rules": item.digest.hex(),
        "fields": {
            path: {
                "type": rule.type.value,
                **({"null": True} if rule.is_nullable else {}),
                **({"one_of": list(rule.choices)} if rule.choices else {}),
            }
            for path, rule in item.fields.items()
        },
    }
