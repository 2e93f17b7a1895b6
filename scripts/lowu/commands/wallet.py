"""Commands of holders: carry, consent, present.

A holder takes from a node, or from a trust file, whose signatures are whose.
"""

from __future__ import annotations

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowu.arguments import decode_form, read_file, read_form, write_file
from lowu.office import Office, OrderRefused, carry_out, run_steps
from lowu.options import (
    EXISTING,
    directory_option,
    holder_option,
    json_option,
    name_folder,
    output_option,
    quote,
    trust_option,
)
from lowu.output import say

if TYPE_CHECKING:
    from lowu.institutions.exchange.request import Request
    from lowu.institutions.service.recording import Wallet


@click.command()
@click.argument("package", type=EXISTING)
@holder_option
@trust_option
@directory_option
@json_option
def carry(package: Path, holder: str, trusted: Path | None, directory: Path, is_json: bool) -> None:
    """Put PACKAGE into a holder's wallet, if its issuer signed it and hid nothing in it."""
    from lowu.institutions.package.format import decode_package

    found, office = read_form(package, decode_package, "a package"), Office(directory)
    trust = run_steps(partial(office.read_trust, trusted))
    with office.open_wallet(holder, trust) as wallet:
        if found.header.holder_key != wallet.holder.key.public_key.hex():
            raise click.UsageError(f"{package}: it was issued to a holder other than {holder}")
        doc_id = read_form(package, wallet.carry, "a package for this holder")
    receivers = ", ".join(item.audience for item in found.anchors)
    say(
        f"{holder} has {found.header.schema} {doc_id}, to be shown to {receivers}",
        is_json=is_json,
        doc_id=doc_id,
        receivers=receivers,
    )


def _choose(wallet: Wallet, asked: Request, doc_id: str | None) -> str:
    try:
        return wallet.choose(asked, doc_id or "")
    except KeyError as error:
        raise click.UsageError(f"{error.args[0]}; `lowu carry` puts one into the wallet") from error


@click.command()
@click.argument("asked", type=EXISTING, metavar="REQUEST")
@holder_option
@click.option("--via", required=True, help="The institution that logs the consent.")
@click.option("--document", default=None, help="Document id.  [default: the newest that fits]")
@click.option("--withdraw", is_flag=True, help="Withdraw the consent.")
@click.option(
    "--cross-border", is_flag=True, help="Agree to the document's use in another jurisdiction."
)
@click.option("--sensitive", is_flag=True, help="Agree to showing sensitive data.")
@trust_option
@directory_option
@json_option
def consent(
    asked: Path,
    holder: str,
    via: str,
    document: str | None,
    withdraw: bool,
    cross_border: bool,
    sensitive: bool,
    trusted: Path | None,
    directory: Path,
    is_json: bool,
) -> None:
    """Consent to REQUEST, or withdraw consent; an institution logs it on the ledger.

    Use in another jurisdiction and showing sensitive data need an agreement of their own: give the
    options, or answer the questions.
    """
    from lowu.institutions.exchange.request import decode_request

    data, office = read_file(asked), Office(directory)
    wanted = decode_form(asked, data, decode_request, "a request")
    trust = run_steps(partial(office.read_trust, trusted))
    with office.open_wallet(holder, trust) as wallet:
        doc_id = _choose(wallet, wanted, document)
        newest = wallet.find_consent(doc_id, wanted.receiver, wanted.purpose)
        if withdraw and newest is None:
            raise click.UsageError(f"{holder} has no such consent to withdraw")
        ended = newest.digest.hex() if withdraw and newest is not None else ""
        given = {} if withdraw else _ask(wallet, doc_id, wanted, cross_border, sensitive)
    files = {"request.json": data}

    async def run() -> tuple[str, dict[str, Any]]:
        async with office.open_desk(via) as desk:
            with office.open_wallet_service(holder, trusted) as person:
                # What is withdrawn is part of the order: another consent, another order.
                fields = {"document": doc_id, "withdraw": withdraw, "ended": ended, **given}
                signing = person.name_order("consent", fields, files)
                signed = await carry_out(person, signing)
                logging = desk.name_order("consent", {}, signed.files)
                try:
                    logged = await carry_out(desk, logging)
                except OrderRefused:
                    person.note_delivered(signing)  # else the next one would be this one again
                    if not withdraw:
                        _drop_consent(office, holder, signed.details["consent"])
                    raise
                person.note_delivered(signing)  # first: signed again, it is the same order there
                desk.note_delivered(logging)
                return signed.details["consent"], dict(logged.details)

    digest, told = run_steps(run)
    where = f"block {told['height']}" if "height" in told else "already logged"
    text = f"{holder} {'withdrew' if withdraw else 'gave'} consent {digest[:16]}… for "
    text += f"{wanted.receiver}, {wanted.purpose}; {where}"
    if not withdraw:
        text += f"\nnext: lowu present {quote(asked)} --holder {holder}{name_folder(directory)}"
    say(text, is_json=is_json, consent=digest, **told)


def _ask(
    wallet: Wallet, doc_id: str, wanted: Request, cross_border: bool, sensitive: bool
) -> dict[str, bool]:
    """Return what the holder agrees to, having asked on a terminal for what was not given."""
    asked = wallet.holder.find_questions(doc_id, wanted)
    questions = {
        "cross_border": (
            asked.to_cross_border and not cross_border,
            f"Use of this document by {wanted.receiver}, in another jurisdiction",
            "--cross-border",
        ),
        "sensitive": (
            asked.to_sensitive and not sensitive,
            f"Showing the sensitive data of {wanted.schema}",
            "--sensitive",
        ),
    }
    given = {"cross_border": cross_border, "sensitive": sensitive}
    for name, (is_needed, question, option) in questions.items():
        if not is_needed:
            continue
        if not sys.stdin.isatty():
            raise click.UsageError(f"{question}: the holder has to agree to it; give {option}")
        if not click.confirm(f"{question}: do you agree?", err=True):
            raise click.ClickException("no consent was given")
        given[name] = True
    return given


def _drop_consent(office: Office, holder: str, digest: str) -> None:
    """Forget a consent that nobody logged: as the newest one it would be the one that is shown."""
    with office.open_wallet(holder) as wallet:
        wallet.consents.pop(bytes.fromhex(digest), None)


@click.command()
@click.argument("asked", type=EXISTING, metavar="REQUEST")
@holder_option
@click.option("--document", default=None, help="Document id.  [default: the newest that fits]")
@click.option(
    "--field", "fields", multiple=True, help="Show only this field, with everything below it."
)
@click.option(
    "--password", default="", help="Password; give it to the receiver by another channel."
)
@click.option("--dry-run", is_flag=True, help="Only show what would be shown; seal nothing.")
@trust_option
@output_option("sealed.bin")
@directory_option
@json_option
def present(
    asked: Path,
    holder: str,
    document: str | None,
    fields: tuple[str, ...],
    password: str,
    dry_run: bool,
    trusted: Path | None,
    output: Path,
    directory: Path,
    is_json: bool,
) -> None:
    """Answer REQUEST with a document, sealed to the receiver; first say what it will see."""
    from lowu.institutions.exchange.request import decode_request
    from lowu.institutions.verification.shown import collect_shown

    wanted, office = read_form(asked, decode_request, "a request"), Office(directory)
    trust = run_steps(partial(office.read_trust, trusted))
    with office.open_wallet(holder, trust) as wallet:
        doc_id = _choose(wallet, wanted, document)
        try:
            shown = wallet.preview(doc_id, wanted, fields)
            warnings = wallet.warn(shown, wanted)
            schema = office.schemas.get(wanted.schema)
            seen = collect_shown(shown, {}, schema, fields or wanted.fields)
            if not is_json:
                _tell_shown(wanted, list(seen.list_fields()), warnings)
            sealed = b"" if dry_run else wallet.present(doc_id, wanted, fields, password)
            subject = _name_subject(wallet, doc_id)
        except ValueError as error:
            raise click.UsageError(f"{asked}: {error}") from error
    told: dict[str, Any] = {"doc_id": doc_id, "shown": seen.describe(), "warnings": warnings}
    if dry_run:
        say("nothing is sealed, as --dry-run says", is_json=is_json, **told)
        return
    write_file(output, sealed)
    say(
        f"{output}: {wanted.schema} for {wanted.receiver}, {len(sealed)} bytes\n"
        f"next: lowu verify {quote(output)} --by {wanted.receiver} --subject {shlex.quote(subject)}"
        f"{' --password PASSWORD' if password else ''}"
        f"{name_folder(directory)}",
        is_json=is_json,
        file=str(output),
        **told,
    )


def _name_subject(wallet: Wallet, doc_id: str) -> str:
    """Return who a document is about, if its schema says where its content has the number."""
    from lowu.institutions.package.format import compute_subject_commitment

    package = wallet.holder.find(doc_id)
    schema = wallet.holder.schemas.get(package.header.schema)
    values = {leaf.path: leaf.value for leaf in package.disclosures}
    for kind, path in schema.subjects.items() if schema is not None else ():
        salt, version = package.subject_salt, package.header.v
        number = values.get(path, "")
        commitment = compute_subject_commitment(kind, number, salt, version)
        if number and commitment.hex() == package.header.subject_commitment:
            return f"{kind}:{number}"
    return "TYPE:NUMBER"


def _tell_shown(wanted: Request, rows: list[tuple[str, str]], warnings: list[str]) -> None:
    """Print what a receiver will see, before it is sealed."""
    from lowu.contracts.named import printable

    width = min(40, max((len(path) for path, _ in rows), default=0))
    lines = [printable(f"{wanted.receiver} will see of {wanted.schema}:")]
    lines += [f"  {printable(path):<{width}}  {printable(text)}" for path, text in rows]
    lines += [f"warning: {warning}" for warning in warnings]
    say("\n".join(lines), is_json=False)


@click.command()
@click.argument("receipt", type=EXISTING)
@holder_option
@click.option("--via", required=True, help="The institution whose node is asked.")
@directory_option
@json_option
def forget(receipt: Path, holder: str, via: str, directory: Path, is_json: bool) -> None:
    """Destroy the holder's copy of the document in RECEIPT, if the ledger confirms it."""
    from lowu.institutions.exchange.erasure import decode_erasure, find_flaw

    erasure, office = read_form(receipt, decode_erasure, "an erasure receipt"), Office(directory)

    async def run() -> Any:
        async with office.connect(via) as signer:
            flaw = await find_flaw(erasure, signer.registry)
            if flaw:
                raise click.UsageError(f"{receipt}: {flaw}; the document is kept")

    run_steps(run)
    with office.open_wallet(holder) as wallet:
        try:
            wallet.forget(erasure)
        except (KeyError, ValueError) as error:
            raise click.UsageError(f"{receipt}: {error.args[0]}; nothing was destroyed") from error
    say(
        f"{holder} has destroyed {erasure.doc_id}, and keeps the receipt for it",
        is_json=is_json,
        doc_id=erasure.doc_id,
    )
