"""Commands of institutions: sample, issue, request, verify, revoke, supersede, erase, witness.

Each reads and writes files and leaves the rest to the institution's desk, which uses another node
of its side when its own is down. Documents travel as files; no node sees one.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowu.arguments import (
    decode_form,
    parse_anchor,
    parse_reason,
    read_attachments,
    read_file,
    tell_unknown_schema,
    write_file,
)
from lowu.office import Office, carry_out, known_schemas, now_s, run_steps, suggest_parties
from lowu.options import (
    EXISTING,
    attach_option,
    by_option,
    directory_option,
    json_option,
    name_folder,
    only_option,
    output_option,
    quote,
)
from lowu.output import say

if TYPE_CHECKING:
    from lowu.institutions.service.orders import Answer

IS_COMMITTED = (
    ". The ledger has it: run the same command again, with another --output, to have the file"
)
"""What follows if an order is carried out, and its file cannot be written."""


@click.command()
@click.argument("schema")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the content.")
@output_option("document.json")
@directory_option
@json_option
def sample(schema: str, seed: int, output: Path, directory: Path, is_json: bool) -> None:
    """Write a sample document of SCHEMA, such as cn.ecr/1, and the files attached to it.

    SCHEMA may be one of the network in --dir; without a network, it is one that comes with Lowu.
    """
    from lowu.institutions.documents.samples import build_sample
    from lowu.institutions.service.document_file import write_document

    known = known_schemas(directory)
    if schema not in known:
        raise click.UsageError(tell_unknown_schema(schema, known))
    document, files = build_sample(known[schema], seed, now_s()).detach()
    write_file(output, write_document(document))
    attached = []
    for path, file in files.items():
        suffix = mimetypes.guess_extension(file.media_type) or ".bin"
        beside = output.with_name(f"{output.stem}-{path.rpartition('/')[2]}{suffix}")
        write_file(beside, file.data)
        attached.append(f"{path}={beside}")
    subject = f"{document.subject.id_type}:{document.subject.id_value}"
    files_given = "".join(f" --attach {item}" for item in attached)
    say(
        f"{output}: {schema} about {subject}\n"
        f"next: lowu issue {quote(output)} {suggest_parties(directory, schema)}{files_given}"
        f"{name_folder(directory)}",
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
    from lowu.institutions.documents.conformity import check_document
    from lowu.institutions.package.leaves import build_leaves
    from lowu.institutions.service.document_file import read_document
    from lowu.institutions.service.orders import name_attachments

    data = read_file(document)
    content = decode_form(document, data, read_document, "a document")
    office, attached = Office(directory), read_attachments(attach)
    schema = office.find_schema(content.schema)
    office.find(audience)
    for path in attached:
        try:
            content = content.attach(path, attached[path])
        except ValueError as error:
            raise click.UsageError(f"--attach: {error}") from error
    try:
        check_document(content, schema)
        build_leaves(content.content, bytes(32))
    except ValueError as error:
        raise click.UsageError(f"{document}: {error}") from error
    with office.open_wallet(holder) as wallet:
        holder_key = wallet.holder.key.public_key.hex()
    named, files = name_attachments(attached)
    fields = {"for": audience, "holder_key": holder_key, "attach": named}
    files["document.json"] = data

    async def run() -> Answer:
        async with office.open_desk(institution, is_signing=True) as desk:
            order = desk.name_order("issue", fields, files)
            answer = await carry_out(desk, order)
            write_file(output, answer.files["package.json"], IS_COMMITTED)
            desk.note_delivered(order)
            return answer

    issued = run_steps(run).details
    say(
        f"{output}: {content.schema} for {audience}, registered in block {issued['height']}\n"
        f"anchor {issued['anchor']}\n"
        f"next: lowu carry {quote(output)} --holder {holder}{name_folder(directory)}",
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
    """Register another anchor of ANCHOR's document, for another receiver.

    ANCHOR is in hex, or the file of the package; so in the commands below.
    """
    fields = {"anchor": parse_anchor(anchor).hex(), "for": Office(directory).find(audience).spec.id}

    async def run() -> Answer:
        async with Office(directory).open_desk(institution, is_signing=True) as desk:
            order = desk.name_order("add-receiver", fields)
            answer = await carry_out(desk, order)
            write_file(output, answer.files["package.json"], IS_COMMITTED)
            desk.note_delivered(order)
            return answer

    issued = run_steps(run).details
    say(
        f"{output}: also for {audience}, registered in block {issued['height']}\n"
        f"anchor {issued['anchor']}\n"
        f"next: lowu carry {quote(output)} --holder HOLDER, who has the document",
        is_json=is_json,
        file=str(output),
        **issued,
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
            write_file(output, answer.files["erasure.json"], IS_COMMITTED)
            desk.note_delivered(order)
            return answer

    receipt = decode_erasure(run_steps(run).files["erasure.json"])
    say(
        f"{output}: document {receipt.doc_id} is erased at {institution}, with "
        f"{len(receipt.anchors)} anchors\n"
        f"next: lowu forget {quote(output)} --holder HOLDER --via {institution}, for each who has "
        "it",
        is_json=is_json,
        file=str(output),
        doc_id=receipt.doc_id,
        anchors=[item.anchor.hex() for item in receipt.anchors],
        digest=receipt.digest.hex(),
    )
