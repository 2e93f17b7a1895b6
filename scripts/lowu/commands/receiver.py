"""Commands of a receiver of documents: request, verify, trust.

What a holder sends travels as a file; no node sees it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowu.arguments import (
    parse_subject,
    read_attachments,
    read_form,
    read_sealed,
    write_file,
)
from lowu.cli import emit_json
from lowu.office import Office, carry_out, run_steps
from lowu.options import (
    EXISTING,
    FILE,
    attach_option,
    by_option,
    directory_option,
    json_option,
    name_folder,
    output_option,
    quote,
)
from lowu.output import say

if TYPE_CHECKING:
    from lowu.institutions.service.orders import Answer, Order
    from lowu.institutions.service.runner import Service
    from lowu.institutions.verification.verdicts import Report


@click.command()
@by_option
@click.option("--schema", required=True, help="Kind of document, such as cn.ecr/1.")
@click.option("--purpose", default="LOAN", show_default=True, help="Purpose of the request.")
@click.option(
    "--field", "fields", multiple=True, help="Field to ask for, with everything below it."
)
@output_option("request.json")
@directory_option
@json_option
def request(
    institution: str,
    schema: str,
    purpose: str,
    fields: tuple[str, ...],
    output: Path,
    directory: Path,
    is_json: bool,
) -> None:
    """Write a receiver's request for a document; without --field, for all of it."""
    from lowu.contracts.registry import Role
    from lowu.institutions.exchange.consent import Purpose

    office = Office(directory)
    office.find_schema(schema)
    if not office.find(institution).spec.roles & Role.VERIFIER:
        able = [
            item.spec.id for item in office.list_institutions() if Role.VERIFIER in item.spec.roles
        ]
        raise click.UsageError(
            f"{institution} cannot receive documents: it lacks the role VERIFIER. "
            f"These have it: {', '.join(able)}"
        )
    if purpose not in list(Purpose):
        raise click.UsageError(f"purpose {purpose!r}: must be one of {', '.join(Purpose)}")

    async def run() -> Answer:
        async with office.open_desk(institution, is_signing=True) as desk:
            asked = {"schema": schema, "purpose": purpose, "fields": list(fields)}
            order = desk.name_order("request", asked)
            answer = await carry_out(desk, order)
            desk.note_delivered(order)  # it expires soon: the next one is a fresh one in any case
            write_file(output, answer.files["request.json"])
            return answer

    asked = run_steps(run).details
    say(
        f"{output}: {institution} asks for {schema}, {purpose}\n"
        f"next: lowu consent {quote(output)} --holder HOLDER --via {institution}"
        f"{name_folder(directory)}",
        is_json=is_json,
        file=str(output),
        nonce=asked["nonce"],
    )


@click.command()
@click.argument("sealed", type=EXISTING)
@by_option
@click.option(
    "--subject",
    required=True,
    help="The person or company the receiver has identified, as TYPE:NUMBER.",
)
@click.option("--password", default="", help="Password, if the holder set one.")
@attach_option(
    "Path in the document, and the received file to compare with what is attached there."
)
@click.option(
    "--confirm",
    multiple=True,
    help="Also ask this institution's node, such as one on the other side.",
)
@click.option(
    "--trust", "trusted", type=EXISTING, default=None, help="File written by `lowu trust`."
)
@click.option("--offline", is_flag=True, help="Ask no node; needs --trust.")
@click.option(
    "--html", "page", type=FILE, default=None, help="Also write the report as an HTML page."
)
@click.option(
    "--out", "fields_file", type=FILE, default=None, help="Also write what is shown, as JSON."
)
@click.option(
    "--show-rejected", is_flag=True, help="Also show the fields of what must not be relied on."
)
@click.option(
    "--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True,
    help="Language of the report.",
)  # fmt: skip
@directory_option
@json_option
def verify(
    sealed: Path,
    institution: str,
    subject: str,
    password: str,
    attach: tuple[str, ...],
    confirm: tuple[str, ...],
    trusted: Path | None,
    offline: bool,
    page: Path | None,
    fields_file: Path | None,
    show_rejected: bool,
    lang: str,
    directory: Path,
    is_json: bool,
) -> None:
    """Verify a presentation that a holder sent; exits 0 only if it is accepted.

    Shows the fields that the holder discloses, but of a rejected one only with --show-rejected.

    Offline, the proof of registration in the package is checked. Whether the document is still
    in force is unknown then, so the verdict is INDETERMINATE at best.
    """
    from lowu.institutions.exchange.trust import decode_trust
    from lowu.institutions.service.orders import name_attachments
    from lowu.institutions.verification.verdicts import Verdict

    if offline and (trusted is None or confirm):
        raise click.UsageError("--offline needs --trust and cannot be used with --confirm")
    trust = None if trusted is None else read_form(trusted, decode_trust, "a trust file")
    named, files = name_attachments(read_attachments(attach))
    fields: dict[str, Any] = {
        "subject": parse_subject(subject),
        "password": password,
        "attach": named,
    }
    if show_rejected:
        fields["show_rejected"] = True
    files["sealed.bin"] = read_sealed(sealed)

    office = Office(directory)

    async def run() -> Report:
        async with office.open_desk(
            institution, is_offline=offline, confirm=confirm, trust=trust
        ) as desk:
            asked = fields | {"confirm": list(confirm), "offline": offline}
            order = desk.name_order("verify", asked, files)
            report, is_decided = await _verify(desk, order)
            title = f"{sealed.name} at {institution}"
            _write_report(report, title, office.report_names, lang, page, fields_file)
            _print_report(report, office.report_names, lang, is_json=is_json)
            sys.stdout.flush()
            if is_decided:  # and told: until then the same command is the same verification
                desk.note_delivered(order)
            return report

    report = run_steps(run)
    sys.exit(0 if report.verdict is Verdict.ACCEPT else 1)


def _write_report(
    report: Report,
    title: str,
    names: Mapping[int, str],
    lang: str,
    page: Path | None,
    fields_file: Path | None,
) -> None:
    """Write the files that a report was asked for in."""
    from lowu.institutions.verification.report import encode_shown, render_html
    from lowu.institutions.verification.wording import Language

    if page is not None:
        write_file(page, render_html(report, title, names, Language(lang)).encode())
    if fields_file is not None:
        write_file(fields_file, encode_shown(report, names))


def _print_report(report: Report, names: Mapping[int, str], lang: str, *, is_json: bool) -> None:
    from lowu.institutions.verification.report import describe_report, render_text
    from lowu.institutions.verification.verdicts import Verdict
    from lowu.institutions.verification.wording import Language

    if is_json:
        emit_json(report.verdict is Verdict.ACCEPT, {}, **describe_report(report, names))
    else:
        click.echo(render_text(report, names, Language(lang)))


async def _verify(desk: Service, order: Order) -> tuple[Report, bool]:
    """Have a desk verify a presentation; return the report, and whether that is decided."""
    from lowu.institutions.service.actions import UndecidedError
    from lowu.institutions.verification.report import read_report

    try:
        answer = await carry_out(desk, order, tries=2)
    except UndecidedError as error:
        return error.report, False
    return read_report(answer.details), True


@click.command()
@by_option
@output_option("trust.json")
@directory_option
@json_option
def trust(institution: str, output: Path, directory: Path, is_json: bool) -> None:
    """Save the chain's validators, members and keys, for verifying and presenting offline."""
    from lowu.institutions.exchange.trust import encode_trust, read_trust

    office = Office(directory)

    async def run() -> Any:
        orgs = office.org_ids.values()
        async with office.connect(institution) as signer:
            return await read_trust(signer.registry, orgs, [(org_id, 1) for org_id in orgs])

    found = run_steps(run)
    write_file(output, encode_trust(found))
    say(
        f"{output}: {len(found.validators)} validators and {len(found.keys)} keys, as "
        f"{institution}'s node has them at height {found.height}\n"
        f"next: --trust {output} with `lowu verify`, and --offline where no node can be asked",
        is_json=is_json,
        file=str(output),
        validators=len(found.validators),
        keys=len(found.keys),
        height=found.height,
    )
