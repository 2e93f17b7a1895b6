"""``lowu org propose``: proposals to the consortium, each for one usual decision."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowu.arguments import is_file_name
from lowu.office import Office, run_steps
from lowu.options import by_option, directory_option, json_option, name_folder
from lowu.output import say

if TYPE_CHECKING:
    from lowu.institutions.ledger.governance import Call
    from lowu.institutions.ledger.registry import Registry

SIDES = click.Choice(["SZ", "HK", "MO", "SG"])


@click.group()
def propose() -> None:
    """Make a proposal; institutions with role GOVERNOR vote on it."""


def _propose(
    directory: Path,
    institution: str,
    calls: Sequence[Call],
    what: str,
    *,
    is_json: bool,
    find_reason: Callable[[Registry], Awaitable[str]] | None = None,
    keep: Callable[[], None] = lambda: None,
) -> None:
    """Propose calls, unless `find_reason` finds why no vote could carry them out.

    What everybody here has to know of them is kept once they are proposed.
    """
    from lowu.institutions.ledger.governance import Voter

    async def run() -> Any:
        async with Office(directory).connect(institution) as signer:
            reason = "" if find_reason is None else await find_reason(signer.registry)
            if reason:
                raise click.ClickException(f"{reason}; nothing was proposed")
            return await Voter(signer).propose(calls)

    number = run_steps(run)
    keep()
    say(
        f"proposal {number}: {what}\n"
        f"next: lowu org vote {number} --by {institution}{name_folder(directory)}",
        is_json=is_json,
        proposal=number,
        calls=len(calls),
    )


@propose.command()
@click.argument("name")
@by_option
@click.option("--side", type=SIDES, required=True, help="Side of the boundary.")
@click.option("--role", "roles", multiple=True, required=True, help="Role, such as VERIFIER.")
@click.option("--schema", "schemas", multiple=True, help="Schema that it may issue.")
@click.option("--via", required=True, help="Institution whose node it will use.")
@directory_option
@json_option
def admit(
    name: str,
    institution: str,
    side: str,
    roles: tuple[str, ...],
    schemas: tuple[str, ...],
    via: str,
    directory: Path,
    is_json: bool,
) -> None:
    """Propose that NAME becomes a member.

    It gets an account, a document key and accreditations.
    """
    from lowu.contracts.registry import Jurisdiction, OrgStatus, Role
    from lowu.institutions.ledger.governance import admission_calls
    from lowu.institutions.package.signatures import DocumentKey

    wrong = [role for role in roles if role not in Role.__members__]
    if wrong:
        raise click.UsageError(f"role {wrong[0]!r}: must be one of {', '.join(Role.__members__)}")
    office = Office(directory)
    allowed = [office.find_schema(item) for item in schemas]
    flags = Role.ADMIN
    for role in roles:
        flags |= Role[role]
    drafted = office.draft_newcomer(name, Jurisdiction[side], flags, schemas, via)
    calls = admission_calls(
        drafted.org_id,
        name,
        Jurisdiction[side],
        flags,
        account=bytes.fromhex(drafted.address[2:]),
        document_key=DocumentKey(drafted.document_key).public_key,
        schemas=allowed,
    )
    what = f"admit {name} ({side}) as organisation {drafted.org_id}"

    async def find_reason(registry: Registry) -> str:
        org = await registry.get_org(drafted.org_id)
        if org.status is OrgStatus.UNKNOWN:
            return ""
        left = " and has left for good" if org.status is OrgStatus.EXITED else ""
        return f"{name} is a member since block {org.admitted_height}{left}"

    _propose(
        directory,
        institution,
        calls,
        what,
        is_json=is_json,
        find_reason=find_reason,
        keep=lambda: office.keep_newcomer(drafted),
    )


@propose.command()
@click.argument("name")
@click.argument("standing", type=click.Choice(["ACTIVE", "SUSPENDED", "EXITED"]))
@by_option
@directory_option
@json_option
def status(name: str, standing: str, institution: str, directory: Path, is_json: bool) -> None:
    """Propose to suspend or reactivate NAME, or to remove it for good."""
    from lowu.contracts.registry import OrgStatus
    from lowu.institutions.ledger.governance import status_calls

    org_id = Office(directory).find(name).org_id

    async def find_reason(registry: Registry) -> str:
        org = await registry.get_org(org_id)
        if org.status is OrgStatus.UNKNOWN:
            return f"{name} is no member"
        if org.status is OrgStatus.EXITED:
            return f"{name} has left for good, in block {org.status_height}"
        same = org.status is OrgStatus[standing]
        return f"{name} is {standing} since block {org.status_height}" if same else ""

    calls = status_calls(org_id, OrgStatus[standing])
    what = f"{name}: {standing}"
    _propose(directory, institution, calls, what, is_json=is_json, find_reason=find_reason)


@propose.command()
@click.argument("name")
@click.argument("schema")
@click.option("--withdraw", is_flag=True, help="Withdraw the accreditation instead.")
@by_option
@directory_option
@json_option
def accredit(
    name: str, schema: str, withdraw: bool, institution: str, directory: Path, is_json: bool
) -> None:
    """Propose that NAME may, or may no longer, issue SCHEMA."""
    from lowu.contracts.registry import OrgStatus, SchemaStatus
    from lowu.institutions.ledger.governance import accreditation_calls

    office = Office(directory)
    rules, org_id = office.find_schema(schema), office.find(name).org_id
    calls = accreditation_calls(org_id, rules, is_withdrawn=withdraw)
    verb = "no longer issues" if withdraw else "issues"

    async def find_reason(registry: Registry) -> str:
        if (await registry.get_schema(rules.number)).status is SchemaStatus.UNKNOWN:
            return f"{schema} is not on the ledger; `lowu org propose schema {schema}` comes first"
        if (await registry.get_org(org_id)).status is OrgStatus.UNKNOWN:
            return f"{name} is no member"
        is_accredited = await registry.is_accredited(org_id, rules.number)
        if is_accredited is not withdraw:
            return f"{name} {'may' if is_accredited else 'may not'} issue {schema} already"
        return ""

    what = f"{name} {verb} {schema}"
    _propose(directory, institution, calls, what, is_json=is_json, find_reason=find_reason)


@propose.command()
@click.argument("name")
@click.option("--per-block", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option("--outstanding", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@by_option
@directory_option
@json_option
def quota(
    name: str,
    per_block: int,
    outstanding: int,
    institution: str,
    directory: Path,
    is_json: bool,
) -> None:
    """Propose limits on the documents that NAME registers.

    --per-block limits registrations in one block, --outstanding documents in force; 0 is no limit.
    """
    from lowu.institutions.ledger.governance import quota_calls

    org_id = Office(directory).find(name).org_id
    calls = quota_calls(org_id, per_block=per_block, outstanding=outstanding)
    limits = f"{per_block or 'any number'} per block, {outstanding or 'any number'} in force"
    _propose(directory, institution, calls, f"{name} registers {limits}", is_json=is_json)


@propose.command()
@click.argument("start", type=SIDES)
@click.argument("end", type=SIDES)
@click.option("--close", is_flag=True, help="Close the route instead.")
@by_option
@directory_option
@json_option
def route(
    start: str, end: str, close: bool, institution: str, directory: Path, is_json: bool
) -> None:
    """Propose that documents from START may be used in END.

    With --close, propose that they may no longer be used there.
    """
    from lowu.contracts.registry import Jurisdiction
    from lowu.institutions.ledger.governance import route_calls

    if start == end:
        raise click.UsageError(f"within {start}, documents may always be used")
    calls = route_calls(Jurisdiction[start], Jurisdiction[end], is_open=not close)
    what = f"{'close' if close else 'open'} the route from {start} to {end}"

    async def find_reason(registry: Registry) -> str:
        is_open = await registry.is_routed(Jurisdiction[start], Jurisdiction[end])
        state = "open" if is_open else "closed"
        return f"the route from {start} to {end} is {state} already" if is_open != close else ""

    _propose(directory, institution, calls, what, is_json=is_json, find_reason=find_reason)


@propose.command()
@click.argument("name", metavar="SCHEMA")
@click.option(
    "--witnesses", type=click.IntRange(0, 15), default=None,
    help="Institutions that must confirm a document.  [default: as the schema says]",
)  # fmt: skip
@click.option("--across", is_flag=True, help="At least one witness must be from another side.")
@by_option
@directory_option
@json_option
def schema(
    name: str, witnesses: int | None, across: bool, institution: str, directory: Path, is_json: bool
) -> None:
    """Propose to allow documents of SCHEMA, an id or a file of [[schema]] tables.

    `lowu schema new` writes such a file. A document is active once enough witnesses have confirmed
    it.
    """
    from lowu.contracts.registry import SchemaStatus
    from lowu.institutions.ledger.governance import schema_calls
    from lowu.node.topology.spec import load_schemas

    office = Office(directory)
    is_file = name not in office.schemas and is_file_name(name)
    proposed = load_schemas(Path(name)) if is_file else (office.find_schema(name),)
    calls = [
        call
        for item in proposed
        for call in schema_calls(
            item,
            min_witness=item.witnesses if witnesses is None else witnesses,
            is_cross_witnessed=across or item.is_cross_witnessed,
        )
    ]
    if not proposed:
        raise click.UsageError(f"{name} has no [[schema]] table")
    office.check_schemas(proposed)

    async def find_reason(registry: Registry) -> str:
        for item in proposed:
            known = await registry.get_schema(item.number)
            if known.status is not SchemaStatus.UNKNOWN:
                other = "" if known.schema_hash == item.digest else ", with other rules"
                return f"{item.id} is on the ledger since block {known.registered_height}{other}"
        return ""

    what = f"register schema {', '.join(item.id for item in proposed)}"
    _propose(
        directory,
        institution,
        calls,
        what,
        is_json=is_json,
        find_reason=find_reason,
        keep=lambda: office.keep_schemas(proposed),
    )
