"""Commands of institutions: sample, issue, request, verify, revoke, supersede, erase, witness.

Each reads and writes files, and talks to one node. Documents travel as files; no node sees one.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowu.cli import emit_json
from lowu.office import (
    EXISTING,
    FILE,
    attach_option,
    build_issuer,
    build_issuer_desk,
    build_signer,
    build_verifier_desk,
    build_wallet,
    by_option,
    connect,
    find_document_key,
    find_institution,
    list_institutions,
    load,
    now_s,
    open_store,
    output_option,
    parse_anchor,
    parse_reason,
    read_attachments,
    read_file,
    read_form,
    run_steps,
    say,
    write_file,
)
from lowu.options import directory_option, json_option

if TYPE_CHECKING:
    from institutions.ledger.responses import Receipt
    from institutions.roles.issuer import Issuer


@click.command()
@click.argument("schema")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the content.")
@output_option("document.json")
@json_option
def sample(schema: str, seed: int, output: Path, is_json: bool) -> None:
    """Write a sample document of SCHEMA, such as cn.ecr/1, and the files attached to it."""
    from institutions.documents.samples import SAMPLES
    from institutions.service.records import write_document

    if schema not in SAMPLES:
        raise click.UsageError(f"no sample of {schema!r}. There are: {', '.join(SAMPLES)}")
    document, files = SAMPLES[schema](seed, now_s()).detach()
    write_file(output, write_document(document))
    attached = []
    for path, data in files.items():
        beside = output.with_name(f"{output.stem}-{path.rpartition('/')[2]}.bin")
        write_file(beside, data)
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
@attach_option
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
    """Package DOCUMENT, register its anchor, and write the package for its holder."""
    from institutions.documents.schemas import SCHEMAS
    from institutions.package.format import encode_package
    from institutions.service.records import read_document

    content = read_form(document, read_document)
    if content.schema not in SCHEMAS:
        raise click.UsageError(f"{document}: schema {content.schema!r} is not known")
    for path, data in read_attachments(attach).items():
        try:
            content = content.attach(path, data)
        except ValueError as error:
            raise click.UsageError(f"--attach: {error}") from error

    async def run() -> Any:
        async with connect(directory, institution) as (item, client):
            plan = load(directory)
            with (
                open_store(directory, "desks", institution) as store,
                open_store(directory, "wallets", holder) as wallet_store,
            ):
                key = await find_document_key(directory, item, client)
                desk = build_issuer_desk(item, client, store, key)
                await desk.register_left()
                return await desk.issue(
                    content,
                    audience=audience,
                    holder_key=build_wallet(plan, holder, wallet_store).holder.key.public_key,
                    issued_at_s=now_s(),
                )

    issued = run_steps(run)
    write_file(output, encode_package(issued.package))
    height = issued.package.anchors[0].registered_height
    say(
        f"{output}: {content.schema} for {audience}, registered in block {height}\n"
        f"anchor {issued.anchor.hex()}\n"
        f"next: lowu carry {output} --holder {holder}",
        is_json=is_json,
        file=str(output),
        anchor=issued.anchor.hex(),
        doc_id=issued.package.header.doc_id,
        height=height,
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
    from institutions.documents.schemas import SCHEMAS
    from institutions.exchange.consent import Purpose
    from institutions.exchange.request import encode_request

    if schema not in SCHEMAS:
        raise click.UsageError(f"schema {schema!r} is not known. There are: {', '.join(SCHEMAS)}")
    if purpose not in list(Purpose):
        raise click.UsageError(f"purpose {purpose!r}: one of {', '.join(Purpose)}")

    async def run() -> Any:
        async with connect(directory, institution) as (item, client):
            with open_store(directory, "desks", institution) as store:
                desk = build_verifier_desk(item, client, store)
                return desk.verifier.request(
                    schema=schema, purpose=purpose, now_s=now_s(), fields=fields or ("",)
                )

    asked = run_steps(run)
    write_file(output, encode_request(asked))
    say(
        f"{output}: {institution} asks for {schema}, {purpose}\n"
        f"next: lowu consent {output} --holder … --via {institution}",
        is_json=is_json,
        file=str(output),
        nonce=asked.nonce,
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
@attach_option
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
    from institutions.documents.document import Subject
    from institutions.exchange.trust import decode_trust
    from institutions.verification.report import describe_report, render_html, render_text
    from institutions.verification.verdicts import Verdict

    id_type, separator, id_value = subject.partition(":")
    if not separator:
        raise click.UsageError(f"--subject {subject!r}: a type and a number, such as USCC:9144…")

    if offline and (trusted is None or confirm):
        raise click.UsageError("--offline needs --trust, and asks nobody: no --confirm")
    trust = None if trusted is None else read_form(trusted, decode_trust)
    data, who = read_file(sealed), Subject(id_type, id_value)
    files = read_attachments(attach)

    async def run() -> Any:
        item = find_institution(directory, institution)
        async with AsyncExitStack() as stack:
            asked = () if offline else (institution, *confirm)
            clients = [
                (await stack.enter_async_context(connect(directory, name)))[1] for name in asked
            ]
            with open_store(directory, "desks", institution) as store:
                client = clients[0] if clients else None
                desk = build_verifier_desk(item, client, store, clients[1:], trust)
                return await desk.receive(data, who, password=password, files=files)

    report = run_steps(run)
    is_accepted = report.verdict is Verdict.ACCEPT
    if page is not None:
        write_file(page, render_html(report, f"{sealed.name} at {institution}").encode())
    if is_json:
        emit_json(is_accepted, {}, **describe_report(report))
    else:
        click.echo(render_text(report))
    sys.exit(0 if is_accepted else 1)


@click.command()
@by_option
@output_option("trust.json")
@directory_option
@json_option
def trust(institution: str, output: Path, directory: Path, is_json: bool) -> None:
    """Save the chain's validators and the issuers' keys, for offline verification."""
    from institutions.exchange.trust import encode_trust, read_trust
    from institutions.ledger.registry import Registry

    async def run() -> Any:
        known = [(item.org_id, 1) for item in list_institutions(directory)]
        async with connect(directory, institution) as (_, client):
            return await read_trust(Registry(client), known)

    found = run_steps(run)
    write_file(output, encode_trust(found))
    say(
        f"{output}: {len(found.validators)} validators and {len(found.keys)} keys, as "
        f"{institution}'s node has them at height {found.height}\n"
        f"next: lowu verify … --trust {output}, and --offline where there is no line",
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
@directory_option
@json_option
def revoke(
    anchor: str, institution: str, reason: str, since: int, directory: Path, is_json: bool
) -> None:
    """Revoke the document of ANCHOR for good."""
    why, wanted = parse_reason(reason), parse_anchor(anchor)
    _change(
        "revoked",
        lambda issuer: issuer.revoke(wanted, why, since),
        institution,
        directory,
        is_json=is_json,
    )


def _change(
    what: str,
    change: Callable[[Issuer], Awaitable[Receipt]],
    institution: str,
    directory: Path,
    *,
    is_json: bool,
) -> None:
    """Have an issuer change the state of an anchor, and say so."""

    async def run() -> Any:
        async with connect(directory, institution) as (item, client):
            return await change(build_issuer(item, client))

    _done(what, run_steps(run), is_json=is_json)


@click.command()
@click.argument("anchor")
@by_option
@directory_option
@json_option
def suspend(anchor: str, institution: str, directory: Path, is_json: bool) -> None:
    """Suspend the document of ANCHOR for a time."""
    wanted = parse_anchor(anchor)
    _change(
        "suspended", lambda issuer: issuer.suspend(wanted), institution, directory, is_json=is_json
    )


@click.command()
@click.argument("anchor")
@by_option
@directory_option
@json_option
def reinstate(anchor: str, institution: str, directory: Path, is_json: bool) -> None:
    """Reinstate the suspended document of ANCHOR."""
    wanted = parse_anchor(anchor)
    _change(
        "reinstated",
        lambda issuer: issuer.reinstate(wanted),
        institution,
        directory,
        is_json=is_json,
    )


@click.command()
@click.argument("anchor")
@click.argument("newer")
@by_option
@directory_option
@json_option
def supersede(anchor: str, newer: str, institution: str, directory: Path, is_json: bool) -> None:
    """Replace the document of ANCHOR with that of NEWER."""
    old, new = parse_anchor(anchor), parse_anchor(newer)

    _change(
        "superseded",
        lambda issuer: issuer.supersede(old, new),
        institution,
        directory,
        is_json=is_json,
    )


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
    from institutions.exchange.erasure import encode_erasure

    wanted, why = parse_anchor(anchor), parse_reason(reason)

    async def run() -> Any:
        async with connect(directory, institution) as (item, client):
            with open_store(directory, "desks", institution) as store:
                key = await find_document_key(directory, item, client)
                desk = build_issuer_desk(item, client, store, key)
                try:
                    return await desk.erase(wanted, reason=why.name, now_s=now_s())
                except KeyError as error:
                    text = f"{institution}'s desk has no document with the anchor {anchor}"
                    raise click.UsageError(text) from error

    receipt = run_steps(run)
    write_file(output, encode_erasure(receipt))
    say(
        f"{output}: document {receipt.doc_id} is erased at {institution}, with "
        f"{len(receipt.anchors)} anchors\nnext: lowu forget {output} --holder … --via …",
        is_json=is_json,
        file=str(output),
        doc_id=receipt.doc_id,
        anchors=[item.anchor.hex() for item in receipt.anchors],
        digest=receipt.digest.hex(),
    )


@click.command()
@click.argument("issuer")
@click.argument("anchor")
@by_option
@directory_option
@json_option
def witness(issuer: str, anchor: str, institution: str, directory: Path, is_json: bool) -> None:
    """Confirm, as a neutral institution, the ANCHOR that ISSUER registered."""
    from contracts.registry import HASH_REGISTRY_ADDRESS, hash_function

    wanted = parse_anchor(anchor)

    async def run() -> Any:
        async with connect(directory, institution) as (item, client):
            org_id = find_institution(directory, issuer).org_id
            call = hash_function("witness").encode_call(org_id, wanted)
            return await build_signer(item, client).send(HASH_REGISTRY_ADDRESS, call)

    _done("witnessed", run_steps(run), is_json=is_json)


def _done(what: str, receipt: Receipt, *, is_json: bool) -> None:
    say(f"{what} in block {receipt.height}", is_json=is_json, height=receipt.height)
