"""``lowu regulator``: what an observer sees of the consortium: counts and alerts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import trio

from lowu.cli import emit_json
from lowu.office import Office, run_steps
from lowu.options import by_option, directory_option, json_option
from lowu.output import Progress, print_table

if TYPE_CHECKING:
    from collections import Counter

    from lowu.institutions.roles.regulator import Regulator, View
    from lowu.node.topology.plan import PlannedInstitution

POLL_S = 0.5


@click.command()
@by_option
@click.option(
    "--dormant", type=click.IntRange(1), default=1_000, show_default=True,
    help="Blocks without a registration after which an issuer counts as silent.",
)  # fmt: skip
@click.option(
    "--follow", is_flag=True, help="Keep watching and print each alert until interrupted."
)
@directory_option
@json_option
def regulator(institution: str, dormant: int, follow: bool, directory: Path, is_json: bool) -> None:
    """Count registrations, revocations and verdicts, and report what looks wrong.

    The counts cover the chain of the institution's node and continue from the last run. They show
    nothing of a document, a holder or a receiver.
    """
    office = Office(directory)
    members = {item.org_id: item for item in office.list_institutions()}
    progress = Progress(is_silent=is_json)

    async def run() -> View:
        from lowu.institutions.roles.regulator import Regulator

        async with office.connect(institution) as signer:
            with office.open_store("desks", institution) as store:
                desk = Regulator(signer.registry.client, store)
                view = await desk.catch_up()
                if follow:
                    await _follow(desk, members, dormant, progress)
                return view

    view: View = run_steps(run)
    if is_json:
        emit_json(True, _figures(view), **_describe(view, members, dormant))
    else:
        _print(view, members, dormant)


async def _follow(
    desk: Regulator,
    members: dict[int, PlannedInstitution],
    dormant: int,
    progress: Progress,
) -> None:
    from lowu.node.client import ClientError, RemoteError

    told: set[str] = set()
    is_there = True
    progress(f"following from block {desk.view.height}; Ctrl-C to stop")
    while True:
        try:
            await desk.catch_up()
        except (ClientError, RemoteError) as error:
            if is_there:
                progress(f"{error}; waiting until the node answers")
            is_there = False
            await trio.sleep(POLL_S)
            continue
        if not is_there:
            progress(f"the node answers again, at block {desk.view.height}")
        is_there = True
        alerts = _alerts(desk.view, members, dormant)
        for alert in alerts:
            if alert not in told:
                progress(f"block {desk.view.height}: {alert}")
        told = set(alerts)
        await trio.sleep(POLL_S)


def _figures(view: View) -> dict[str, float]:
    return {
        "height": view.height,
        "registrations": view.registered.total(),
        "withdrawn": view.withdrawn.total(),
        "erased": view.erased.total(),
        "verdicts": view.verdicts.total(),
    }


def _rows(view: View, members: dict[int, PlannedInstitution]) -> list[tuple[str, str, str, int]]:
    from lowu.contracts.schemas.bundled import SCHEMAS

    names = {schema.number: name for name, schema in SCHEMAS.items()}
    return sorted(
        (
            _name(issuer, members),
            members[issuer].spec.side.name if issuer in members else "?",
            names.get(schema, str(schema)),
            count,
        )
        for (issuer, schema), count in view.registered.items()
    )


def _name(issuer: int, members: dict[int, PlannedInstitution]) -> str:
    return members[issuer].spec.id if issuer in members else f"organisation {issuer}"


def _counts(counted: Counter[int], members: dict[int, PlannedInstitution]) -> str:
    """Return counts by issuer as a person reads them."""
    shown = (f"{count} of {_name(key, members)}" for key, count in sorted(counted.items()))
    return ", ".join(shown) or "none"


def _alerts(view: View, members: dict[int, PlannedInstitution], dormant: int) -> list[str]:
    issuers = [number for number, item in members.items() if item.spec.schemas]
    alerts = [
        f"{_name(issuer, members)} withdrew many documents in a short time, last at block {height}"
        for issuer, height in view.mass_withdrawals.items()
    ]
    alerts += [
        f"{_name(issuer, members)}: key {key} reported as stolen since block {since}"
        for (issuer, key), since in view.compromised.items()
    ]
    alerts += [
        f"{_name(issuer, members)} registered nothing in the last {dormant} blocks"
        for issuer in view.dormant(issuers, dormant)
        if view.height >= dormant
    ]
    return alerts


def _describe(view: View, members: dict[int, PlannedInstitution], dormant: int) -> dict[str, Any]:
    keys = ("issuer", "side", "schema", "count")
    rows = [dict(zip(keys, row, strict=True)) for row in _rows(view, members)]
    return {
        "registered": rows,
        "withdrawn": {_name(key, members): count for key, count in view.withdrawn.items()},
        "erased": {_name(key, members): count for key, count in view.erased.items()},
        "verdicts": dict(view.verdicts),
        "alerts": _alerts(view, members, dormant),
    }


def _print(view: View, members: dict[int, PlannedInstitution], dormant: int) -> None:
    rows = _rows(view, members)
    print_table(
        f"Registrations up to block {view.height}", ("issuer", "side", "schema", "count"), rows
    )
    verdicts = ", ".join(f"{count} {name}" for name, count in sorted(view.verdicts.items()))
    click.echo(f"withdrawn: {_counts(view.withdrawn, members)}")
    click.echo(f"erased: {_counts(view.erased, members)}")
    click.echo(f"verdicts on the ledger: {verdicts or 'none'}")
    for alert in _alerts(view, members, dormant) or ["no alerts"]:
        click.echo(alert)
