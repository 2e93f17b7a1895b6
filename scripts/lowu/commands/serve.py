"""``lowu serve``: an institution's desk, or a holder's wallet, as a service that works with files.

Orders arrive as files in its inbox, and answers go to its outbox (docs/DESKS.md).
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lowu.cli import emit_json
from lowu.office import Office, run_steps
from lowu.options import directory_option, json_option
from lowu.output import Progress

if TYPE_CHECKING:
    from lowu.institutions.service.inbox import Mailbox
    from lowu.institutions.service.orders import Answer
    from lowu.institutions.service.runner import Service

TRIES = 10
"""Attempts of each order, with ``--once``."""


@click.command()
@click.option("--by", "institution", default="", help="The institution to serve for.")
@click.option("--holder", default="", help="The holder to serve for instead.")
@click.option("--once", is_flag=True, help="Process what is in the inbox, then exit.")
@directory_option
@json_option
def serve(institution: str, holder: str, once: bool, directory: Path, is_json: bool) -> None:
    """Process orders that arrive as files in an inbox, until interrupted.

    Each order is carried out exactly once, however often it is submitted, and retried until a node
    answers. With --once, exits 1 if no node answered.
    """
    if bool(institution) == bool(holder):
        raise click.UsageError("give either --by INSTITUTION or --holder NAME")
    told: Counter[str] = Counter()
    progress = Progress(is_silent=is_json)

    def tell(name: str, answer: Answer | None) -> None:
        if answer is None:
            result = "no node answered; it will be tried again"
        else:
            result = "done" if answer.is_ok else f"refused: {_why(answer)}"
        told["unanswered" if answer is None else "done" if answer.is_ok else "refused"] += 1
        progress(f"{name}: {result}")

    async def run() -> bool:
        from lowu.institutions.service.inbox import Mailbox

        office = Office(directory)
        # Errors here, of a missing network or member, come before any folder is made.
        office.find(institution) if institution else office.list_institutions()
        kind, name = ("desks", institution) if institution else ("wallets", holder)
        mailbox = Mailbox(office.place(kind, name))
        async with AsyncExitStack() as stack:
            stack.enter_context(mailbox.alone())
            service: Service
            if institution:
                desk = office.open_desk(institution, is_signing=True, is_serving=True)
                service = await stack.enter_async_context(desk)
            else:
                service = stack.enter_context(office.open_wallet_service(holder))
            if once:
                return await mailbox.serve_once(service, tell, tries=TRIES)
            _announce(mailbox, service, progress)
            await mailbox.serve(service, tell)
        return True

    is_ok = run_steps(run)
    if is_json:
        emit_json(is_ok, dict(told))
    else:
        click.echo(", ".join(f"{told[name]} {name}" for name in ("done", "refused", "unanswered")))
    sys.exit(0 if is_ok else 1)


def _why(answer: Answer) -> str:
    if "error" in answer.details:
        return str(answer.details["error"])
    return " ".join([str(answer.details.get("verdict")), *answer.details.get("codes", [])])


def _announce(mailbox: Mailbox, service: Service, progress: Progress) -> None:
    progress(f"orders: {mailbox.inbox}/NAME.order.json, answers: {mailbox.outbox}/NAME")
    progress(f"accepts: {', '.join(service.actions)}; Ctrl-C to stop")
