"""``lowu org``: proposals to the consortium, votes on them, and an institution's own keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowu.cli import emit_json
from lowu.office import Office, ask_password, now_s, run_steps
from lowu.options import by_option, directory_option, json_option
from lowu.output import print_table, say

if TYPE_CHECKING:
    from lowu.institutions.ledger.governance import Call, GovernanceProposal
    from lowu.institutions.ledger.registry import Registry
    from lowu.institutions.roles.administrator import Rotation

SIDES = click.Choice(["SZ", "HK", "MO", "SG"])
LISTED_MAX = 100
"""How many proposals are listed: anyone with a vote may open any number."""


@click.group()
def org() -> None:
    """Make, list and vote on proposals; replace an institution's account and keys."""


@org.group()
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
) -> None:
    """Propose calls, unless `find_reason` finds why no vote could carry them out."""
    from lowu.institutions.ledger.governance import Voter

    async def run() -> Any:
        async with Office(directory).connect(institution) as signer:
            reason = "" if find_reason is None else await find_reason(signer.registry)
            if reason:
                raise click.ClickException(f"{reason}; nothing was proposed")
            return await Voter(signer).propose(calls)

    number = run_steps(run)
    say(
        f"proposal {number}: {what}\nnext: lowu org vote {number} --by {institution}",
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

    _propose(directory, institution, calls, what, is_json=is_json, find_reason=find_reason)


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
    is_file = name not in office.schemas and Path(name).is_file()
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
    office.keep_schemas(proposed)

    async def find_reason(registry: Registry) -> str:
        for item in proposed:
            known = await registry.get_schema(item.number)
            if known.status is not SchemaStatus.UNKNOWN:
                other = "" if known.schema_hash == item.digest else ", with other rules"
                return f"{item.id} is on the ledger since block {known.registered_height}{other}"
        return ""

    what = f"register schema {', '.join(item.id for item in proposed)}"
    _propose(directory, institution, calls, what, is_json=is_json, find_reason=find_reason)


@org.command()
@click.argument("proposal", type=click.IntRange(1))
@click.option("--no", "is_no", is_flag=True, help="Vote against it.")
@by_option
@directory_option
@json_option
def vote(proposal: int, is_no: bool, institution: str, directory: Path, is_json: bool) -> None:
    """Vote on PROPOSAL; the vote that passes it also carries it out."""
    from lowu.institutions.ledger.governance import Voter, read_proposal

    async def run() -> Any:
        async with Office(directory).connect(institution) as signer:
            await Voter(signer).vote(proposal, is_yes=not is_no)
            return await read_proposal(signer.registry, proposal)

    found: GovernanceProposal = run_steps(run)
    say(_describe(found), is_json=is_json, **_figures(found))


@org.command()
@click.argument("name")
@by_option
@click.option(
    "--days", type=click.IntRange(1, 29), default=7, show_default=True,
    help="Days until it ends by itself.",
)  # fmt: skip
@click.option("--lift", is_flag=True, help="End the suspension now.")
@directory_option
@json_option
def suspend(
    name: str, institution: str, days: int, lift: bool, directory: Path, is_json: bool
) -> None:
    """As a regulator, suspend NAME, of the same side, for a time.

    It issues and verifies nothing meanwhile, and votes all the same.
    """
    from lowu.institutions.ledger.governance import suspension_call

    office = Office(directory)
    until = 0 if lift else now_s() + days * 86_400
    address, data = suspension_call(office.find(name).org_id, until)

    async def run() -> Any:
        async with office.connect(institution) as signer:
            return await signer.send(address, data)

    height = run_steps(run).height
    ended = "is no longer suspended" if lift else f"is suspended for {days} days"
    say(f"{name} {ended}, as of block {height}", is_json=is_json, height=height, until=until)


@org.command()
@by_option
@click.option("--retire-old", is_flag=True, help="Remove the roles from the old account.")
@directory_option
@json_option
def account(institution: str, retire_old: bool, directory: Path, is_json: bool) -> None:
    """Give an institution an account with a new key in a key file.

    Until then its account is derived from the network's public seed. From then on all its commands
    use the key file, whose password comes from LOWU_PASSWORD or a prompt.
    """
    from lowu.institutions.ledger.keystore import DraftedKey, KeystoreError
    from lowu.institutions.ledger.transactor import Signer
    from lowu.institutions.roles.administrator import Administrator

    office = Office(directory)
    path, seeded = office.keystore_file(institution), office.find(institution)
    if path.exists() and not retire_old:
        raise click.UsageError(f"{path} is in use; --retire-old replaces it with a new one")

    async def run() -> Any:
        async with office.connect(institution) as signer:
            try:
                drafted = DraftedKey(path, ask_password(path, is_new=True))
            except KeystoreError as error:
                raise click.ClickException(str(error)) from error
            fresh = Signer(signer.registry.client, drafted.private_key)
            roles = await Administrator(seeded.org_id, signer).grant_all_roles(fresh.account)
            drafted.put_into_use()
            if retire_old:
                old = {signer.address, seeded.address}
                await Administrator(seeded.org_id, fresh).remove_accounts(old)
            return fresh.address, roles

    found, roles = run_steps(run)
    say(
        f"{path}: {institution} acts as {found} ({roles.name}) from now on\n"
        "its password: the value of LOWU_PASSWORD, or what you typed at the prompt",
        is_json=is_json,
        file=str(path),
        address=found,
        roles=roles.name,
    )


@org.command("rotate-key")
@by_option
@click.option(
    "--key", type=click.IntRange(1), default=None,
    help="Number of the key that is meant.  [default: the one in use]",
)  # fmt: skip
@click.option(
    "--compromised-since", "since", type=click.IntRange(1), default=None,
    help="The old key was stolen: what it signed since this block is refused.",
)  # fmt: skip
@directory_option
@json_option
def rotate_key(
    institution: str, key: int | None, since: int | None, directory: Path, is_json: bool
) -> None:
    """Put a new document key into use, and retire the current one.

    With --key, only if that is the one in use; so the same command again changes nothing more. A
    key that is out of use can still be reported as stolen, with --compromised-since.
    """
    from lowu.institutions.roles.administrator import Administrator

    office = Office(directory)

    async def run() -> Any:
        async with office.connect(institution) as signer:
            administrator = Administrator(office.find(institution).org_id, signer)
            key_of = partial(office.document_key, institution)
            try:
                return await administrator.rotate_key(key_of, since, key)
            except ValueError as error:
                raise click.UsageError(f"--key: {error}") from error

    done: Rotation = run_steps(run)
    ended = "retired" if since is None else f"compromised since block {since}"
    others = f"; {ended}: {', '.join(map(str, done.ended))}" if done.ended else ""
    say(
        f"{institution}: key {done.number} is in use as of block {done.height}{others}",
        is_json=is_json,
        key=done.number,
        ended=list(done.ended),
        height=done.height,
    )


@org.command()
@by_option
@directory_option
@json_option
def proposals(institution: str, directory: Path, is_json: bool) -> None:
    """List the last 100 proposals, as stored at an institution's node."""
    from lowu.institutions.ledger.governance import count_proposals, describe_call, read_proposal

    async def run() -> Any:
        async with Office(directory).connect(institution) as signer:
            registry = signer.registry
            count = await count_proposals(registry)
            numbers = range(max(1, count - LISTED_MAX + 1), count + 1)
            read = [await read_proposal(registry, number) for number in numbers]
            return [item for item in read if item is not None]

    found: list[GovernanceProposal] = run_steps(run)
    if is_json:
        emit_json(True, {}, proposals=[_figures(item) for item in found])
        return
    rows = [
        (
            str(item.number),
            item.status.name,
            _tell_votes(item),
            "\n".join(describe_call(call) for call in item.calls),
        )
        for item in found
    ]
    print_table("Proposals", ("number", "status", "votes (yes:no of)", "calls"), rows)


def _tell_votes(item: GovernanceProposal) -> str:
    return ", ".join(
        f"{where.name} {side.yes}:{side.no} of {side.voters}" for where, side in item.sides.items()
    )


def _describe(item: GovernanceProposal) -> str:
    told = f"proposal {item.number} is {item.status.name}; votes (yes:no): {_tell_votes(item)}"
    if item.status.name != "OPEN":
        return told
    rule = "it passes with more than two thirds of all weight"
    return f"{told}\nopen until block {item.until_height}; {rule}"


def _figures(item: GovernanceProposal) -> dict[str, Any]:
    from lowu.institutions.ledger.governance import describe_call

    return {
        "proposal": item.number,
        "status": item.status.name,
        "proposer": item.proposer,
        "until_height": item.until_height,
        "votes": {
            where.name: [side.yes, side.no]
            for where, side in item.sides.items()
            if side.yes or side.no
        },
        "sides": {where.name: asdict(side) for where, side in item.sides.items()},
        "calls": [describe_call(call) for call in item.calls],
    }
