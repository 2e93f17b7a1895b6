"""Commands of institutions: sample, issue, request, verify, revoke, supersede, erase, witness.

Each reads and writes files and leaves the rest to the institution's desk, which uses another node
of its side when its own is down. Documents travel as files; no node sees one.
"""

from __future__ import annotations

import mimetypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowu.arguments import (
    check_schemas,
    decode_form,
    parse_anchor,
    parse_reason,
    parse_subject,
    read_attachments,
    read_file,
    read_form,
    write_file,
)
from lowu.cli import emit_json
from lowu.office import Office, carry_out, now_s, run_steps
from lowu.options import (
    EXISTING,
    FILE,
    attach_option,
    by_option,
    directory_option,
    json_option,
    only_option,
    output_option,
)
from lowu.output import say

if TYPE_CHECKING:
    from lowu.institutions.service.orders import Answer, Order
    from lowu.institutions.service.runner import Service
    from lowu.institutions.verification.verdicts import Report


@click.command()
@click.argument("schema")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the content.")
@output_option("document.json")
@json_option
def sample(schema: str, seed: int, output: Path, is_json: bool) -> None:
    """Write a sample document of SCHEMA, such as cn.ecr/1, and the files attached to it."""
    from lowu.institutions.documents.samples import SAMPLES
    from lowu.institutions.service.recording import write_document

    if schema not in SAMPLES:
        raise click.UsageError(f"no sample of {schema!r}. There are: {', '.join(SAMPLES)}")
    document, files = SAMPLES[schema](seed, now_s()).detach()
    write_file(output, write_document(document))
    attached = []
    for path, file in files.items():
        suffix = mimetypes.guess_extension(file.media_type) or ".bin"
        beside = output.with_name(f"{output.stem}-{path.rpartition('/')[2]}{suffix}")
        write_file(beside, file.data)
        attached.append(f"{path}={beside}")
    subject = f"{document.subject.id_type}:{document.subject.id_value}"
    say(
        f"{output}: {schema} about {subject}\nnext: lowu issue {output} --by … --for … --holder …"
        + "".join(f" --attach {item}" for item in attached),
        is_json=is_json,
        file=str(output),
        subject=subject,
        attach=attached,
    )


@click.command()
@click.argument("document", type=EXISTING)
@by_option
@click.option("--for", "audience", required=True, help="The receiver that the anchor is for.")
@click.option("--holder", required=True, help="The holder who will carry it.")
@attach_option("Path in the document, and the file to attach there.")
@output_option("package.json")
@directory_option
@json_option
def issue(
    document: Path,
    institution: str,
    audience: str,
    holder: str,
    attach: tuple[str, ...],
    output: Path,
    directory: Path,
    is_json: bool,
) -> None:
    """Package DOCUMENT, register its anchor, and write the package for its holder.

    If the command is interrupted, run it again: it continues with the same package.
    """
    from lowu.institutions.service.orders import name_attachments
    from lowu.institutions.service.recording import read_document

    data = read_file(document)
    content = decode_form(document, data, read_document, "a document")
    check_schemas([content.schema])
    office, attached = Office(directory), read_attachments(attach)
    office.find(audience)
    for path in attached:
        try:
            content = content.attach(path, attached[path])
        except ValueError as error:
            raise click.UsageError(f"--attach: {error}") from error
    with office.open_wallet(holder) as wallet:
        holder_key = wallet.holder.key.public_key.hex()
    named, files = name_attachments(attached)
    fields = {"for": audience, "holder_key": holder_key, "attach": named}
    files["document.json"] = data

    async def run() -> Answer:
        async with office.open_desk(institution, is_signing=True) as desk:
            order = desk.name_order("issue", fields, files)
            answer = await carry_out(desk, order)
            write_file(output, answer.files["package.json"])
            desk.note_delivered(order)
            return answer

    issued = run_steps(run).details
    say(
        f"{output}: {content.schema} for {audience}, registered in block {issued['height']}\n"
        f"anchor {issued['anchor']}\n"
        f"next: lowu carry {output} --holder {holder}",
        is_json=is_json,
        file=str(output),
        **issued,
    )


@click.command("add-receiver")
@click.argument("anchor")
@by_option
@click.option("--for", "audience", required=True, help="The further receiver.")
@output_option("package.json")
@directory_option
@json_option
def add_receiver(
    anchor: str, institution: str, audience: str, output: Path, directory: Path, is_json: bool
) -> None:
    """Register another anchor of ANCHOR's document, for another receiver."""
    fields = {"anchor": parse_anchor(anchor).hex(), "for": Office(directory).find(audience).spec.id}

    async def run() -> Answer:
        async with Office(directory).open_desk(institution, is_signing=True) as desk:
            order = desk.name_order("add-receiver", fields)
            answer = await carry_out(desk, order)
            write_file(output, answer.files["package.json"])
            desk.note_delivered(order)
            return answer

    issued = run_steps(run).details
    say(
        f"{output}: also for {audience}, registered in block {issued['height']}\n"
        f"anchor {issued['anchor']}\nnext: lowu carry {output} --holder …",
        is_json=is_json,
        file=str(output),
        **issued,
    )


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
    from lowu.institutions.exchange.consent import Purpose

    check_schemas([schema])
    if purpose not in list(Purpose):
        raise click.UsageError(f"purpose {purpose!r}: must be one of {', '.join(Purpose)}")

    async def run() -> Answer:
        async with Office(directory).open_desk(institution, is_signing=True) as desk:
            asked = {"schema": schema, "purpose": purpose, "fields": list(fields)}
            order = desk.name_order("request", asked)
            answer = await carry_out(desk, order)
            desk.note_delivered(order)  # it expires soon: the next one is a fresh one in any case
            write_file(output, answer.files["request.json"])
            return answer

    asked = run_steps(run).details
    say(
        f"{output}: {institution} asks for {schema}, {purpose}\n"
        f"next: lowu consent {output} --holder … --via {institution}",
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
    directory: Path,
    is_json: bool,
) -> None:
    """Verify a presentation that a holder sent; exits 0 only if it is accepted.

    Offline, the proof of registration in the package is checked. Whether the document is still
    in force is unknown then, so the verdict is INDETERMINATE at best.
    """
    from lowu.institutions.exchange.trust import decode_trust
    from lowu.institutions.service.orders import name_attachments
    from lowu.institutions.verification.report import describe_report, render_html, render_text
    from lowu.institutions.verification.verdicts import Verdict

    if offline and (trusted is None or confirm):
        raise click.UsageError("--offline needs --trust and cannot be used with --confirm")
    trust = None if trusted is None else read_form(trusted, decode_trust, "a trust file")
    named, files = name_attachments(read_attachments(attach))
    fields = {"subject": parse_subject(subject), "password": password, "attach": named}
    files["sealed.bin"] = read_file(sealed)

    async def run() -> Report:
        async with Office(directory).open_desk(
            institution, is_offline=offline, confirm=confirm, trust=trust
        ) as desk:
            asked = fields | {"confirm": list(confirm), "offline": offline}
            order = desk.name_order("verify", asked, files)
            report, is_decided = await _verify(desk, order)
            if page is not None:
                write_file(page, render_html(report, f"{sealed.name} at {institution}").encode())
            if is_json:
                emit_json(report.verdict is Verdict.ACCEPT, {}, **describe_report(report))
            else:
                click.echo(render_text(report))
            sys.stdout.flush()
            if is_decided:  # and told: until then the same command is the same verification
                desk.note_delivered(order)
            return report

    report = run_steps(run)
    sys.exit(0 if report.verdict is Verdict.ACCEPT else 1)


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
        f"next: lowu verify … --trust {output}, and --offline where no node can be asked",
        is_json=is_json,
        file=str(output),
        validators=len(found.validators),
        keys=len(found.keys),
        height=found.height,
    )


@click.command()
@click.argument("anchor")
@by_option
@click.option("--reason", default="CORRECTED", show_default=True, help="Reason code.")
@click.option(
    "--since", type=click.IntRange(0), default=0, help="Past block from which it counts as revoked."
)
@only_option
@directory_option
@json_option
def revoke(
    anchor: str,
    institution: str,
    reason: str,
    since: int,
    only: bool,
    directory: Path,
    is_json: bool,
) -> None:
    """Revoke the document of ANCHOR for good, for all receivers that it was issued for."""
    fields = {"anchor": parse_anchor(anchor).hex(), "reason": parse_reason(reason).name}
    changed = {**fields, "since": since, "only": only}
    _change("revoke", "revoked", changed, institution, directory, is_json=is_json)


def _change(
    action: str,
    done: str,
    fields: dict[str, Any],
    institution: str,
    directory: Path,
    *,
    is_json: bool,
) -> None:
    """Have a desk change an anchor's record on the ledger, and report it."""

    async def run() -> Answer:
        async with Office(directory).open_desk(institution) as desk:
            order = desk.name_order(action, fields)
            answer = await carry_out(desk, order)
            desk.note_delivered(order)
            return answer

    told = run_steps(run).details
    where = f"in block {told['height']}" if "height" in told else "earlier, by the interrupted run"
    lines = [f"  {item['anchor']} for {item['for']}" for item in told.get("changed", ())]
    say("\n".join([f"{done} {where}", *(lines if len(lines) > 1 else ())]), is_json=is_json, **told)


@click.command()
@click.argument("anchor")
@by_option
@only_option
@directory_option
@json_option
def suspend(anchor: str, institution: str, only: bool, directory: Path, is_json: bool) -> None:
    """Suspend the document of ANCHOR for a time, for all receivers."""
    fields = {"anchor": parse_anchor(anchor).hex(), "only": only}
    _change("suspend", "suspended", fields, institution, directory, is_json=is_json)


@click.command()
@click.argument("anchor")
@by_option
@only_option
@directory_option
@json_option
def reinstate(anchor: str, institution: str, only: bool, directory: Path, is_json: bool) -> None:
    """Reinstate the suspended document of ANCHOR, for all receivers."""
    fields = {"anchor": parse_anchor(anchor).hex(), "only": only}
    _change("reinstate", "reinstated", fields, institution, directory, is_json=is_json)


@click.command()
@click.argument("anchor")
@click.argument("newer")
@by_option
@only_option
@directory_option
@json_option
def supersede(
    anchor: str, newer: str, institution: str, only: bool, directory: Path, is_json: bool
) -> None:
    """Replace the document of ANCHOR with that of NEWER, for all receivers.

    Where NEWER's document is not for a receiver of the old one, the old one is revoked.
    """
    fields = {"anchor": parse_anchor(anchor).hex(), "newer": parse_anchor(newer).hex()}
    _change(
        "supersede",
        "superseded",
        {**fields, "only": only},
        institution,
        directory,
        is_json=is_json,
    )


@click.command()
@click.argument("issuer")
@click.argument("anchor")
@by_option
@directory_option
@json_option
def witness(issuer: str, anchor: str, institution: str, directory: Path, is_json: bool) -> None:
    """Confirm, as a neutral institution, the ANCHOR that ISSUER registered."""
    fields = {
        "issuer": Office(directory).find(issuer).spec.id,
        "anchor": parse_anchor(anchor).hex(),
    }
    _change("witness", "witnessed", fields, institution, directory, is_json=is_json)


@click.command()
@click.argument("anchor")
@by_option
@click.option("--reason", default="SUBJECT_REQUEST", show_default=True, help="Reason code.")
@output_option("erasure.json")
@directory_option
@json_option
def erase(
    anchor: str, institution: str, reason: str, output: Path, directory: Path, is_json: bool
) -> None:
    """Destroy the document of ANCHOR, record that on the ledger, and write a receipt."""
    from lowu.institutions.exchange.erasure import decode_erasure
    from lowu.institutions.service.inbox import remove_answers

    fields = {"anchor": parse_anchor(anchor).hex(), "reason": parse_reason(reason).name}

    async def run() -> Answer:
        async with Office(directory).open_desk(institution, is_signing=True) as desk:
            order = desk.name_order("erase", fields)
            answer = await carry_out(desk, order)
            remove_answers(directory / "desks" / institution, answer.details["orders_erased"])
            write_file(output, answer.files["erasure.json"])
            desk.note_delivered(order)
            return answer

    receipt = decode_erasure(run_steps(run).files["erasure.json"])
    say(
        f"{output}: document {receipt.doc_id} is erased at {institution}, with "
        f"{len(receipt.anchors)} anchors\nnext: lowu forget {output} --holder … --via …",
        is_json=is_json,
        file=str(output),
        doc_id=receipt.doc_id,
        anchors=[item.anchor.hex() for item in receipt.anchors],
        digest=receipt.digest.hex(),
    )
