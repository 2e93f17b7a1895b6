"""``lowu org``: proposals to the consortium, votes on them, and an institution's own keys."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowu.cli import emit_json
from lowu.commands.org.proposing import propose
from lowu.office import Office, ask_password, now_s, run_steps
from lowu.options import by_option, directory_option, json_option
from lowu.output import print_table, say

if TYPE_CHECKING:
    from lowu.institutions.ledger.call_texts import KnownOrg
    from lowu.institutions.ledger.governance import GovernanceProposal
    from lowu.institutions.roles.administrator import Rotation
    from lowu.node.topology.plan import PlannedInstitution

LISTED_MAX = 100
"""How many proposals are listed: anyone with a vote may open any number."""


@click.group()
def org() -> None:
    """Make, list and vote on proposals; replace an institution's account and keys."""


org.add_command(propose)


@org.command()
@click.argument("proposal", type=click.IntRange(1, 2**63 - 1))
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
    "--key", type=click.IntRange(1, 2**31 - 1), default=None,
    help="Number of the key that is meant.  [default: the one in use]",
)  # fmt: skip
@click.option(
    "--compromised-since", "since", type=click.IntRange(1, 2**63 - 1), default=None,
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
    from lowu.institutions.ledger.call_texts import tell_call
    from lowu.institutions.ledger.governance import count_proposals, read_proposal

    office = Office(directory)

    async def run() -> Any:
        async with office.connect(institution) as signer:
            registry = signer.registry
            count = await count_proposals(registry)
            numbers = range(max(1, count - LISTED_MAX + 1), count + 1)
            read = [await read_proposal(registry, number) for number in numbers]
            return [item for item in read if item is not None]

    found: list[GovernanceProposal] = run_steps(run)
    if is_json:
        emit_json(True, {}, proposals=[_figures(item) for item in found])
        return
    orgs = {item.org_id: _know(office, item) for item in office.list_institutions()}
    schemas = {schema.number: schema for schema in office.schemas.values()}
    rows = [
        (
            str(item.number),
            orgs[item.proposer].name if item.proposer in orgs else str(item.proposer),
            item.status.name,
            _tell_votes(item),
            "\n".join(tell_call(call, orgs, schemas) for call in item.calls),
        )
        for item in found
    ]
    columns = ("number", "proposed by", "status", "votes (yes:no of)", "calls")
    print_table("Proposals", columns, rows)


def _know(office: Office, item: PlannedInstitution) -> KnownOrg:
    from lowu.institutions.ledger.call_texts import KnownOrg
    from lowu.institutions.package.signatures import DocumentKey

    key = DocumentKey(item.document_key).public_key
    return KnownOrg(item.spec.id, office.address_of(item), key)


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
    from lowu.institutions.ledger.call_texts import describe_call

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
