"""``lowu serve``: the desk of an institution, or a holder's wallet, as a service of files.

Orders come as files into the desk's inbox, answers go to its outbox (docs/DESKS.md).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lowu.cli import emit_json
from lowu.office import (
    build_issuer_desk,
    build_signer,
    build_verifier_desk,
    build_wallet,
    find_document_key,
    find_institution,
    list_institutions,
    load,
    now_s,
    open_store,
    run_steps,
    unlock,
)
from lowu.options import directory_option, json_option
from lowu.output import Progress

if TYPE_CHECKING:
    from institutions.service.inbox import Mailbox
    from institutions.service.orders import Answer
    from institutions.service.runner import Service
    from node.topology.plan import PlannedInstitution

T = TypeVar("T")
TRIES = 10
"""Of each order, with ``--once``."""


@click.command()
@click.option("--by", "institution", default="", help="The institution to serve for.")
@click.option("--holder", default="", help="The holder to serve for, instead.")
@click.option("--once", is_flag=True, help="Process what is in the inbox, then exit.")
@directory_option
@json_option
def serve(institution: str, holder: str, once: bool, directory: Path, is_json: bool) -> None:
    """Process orders that arrive as files in an inbox, until interrupted.

    Each order is done exactly once, however often it is given, and retried until a node answers.
    Exits 1 if, with --once, no node answered.
    """
    if bool(institution) == bool(holder):
        raise click.UsageError("either --by INSTITUTION or --holder NAME")
    told: Counter[str] = Counter()
    progress = Progress(is_silent=is_json)

    def tell(name: str, answer: Answer | None) -> None:
        if answer is None:
            result = "no node answers; it will be tried again"
        else:
            result = "done" if answer.is_ok else f"refused: {_why(answer)}"
        told["unanswered" if answer is None else "done" if answer.is_ok else "refused"] += 1
        progress(f"{name}: {result}")

    async def run() -> bool:
        from institutions.service.inbox import Mailbox

        kind, name = ("desks", institution) if institution else ("wallets", holder)
        mailbox = Mailbox(directory / kind / name)
        open_service = _open_desk(directory, institution) if institution else None
        with mailbox.alone():
            async with open_service or _open_wallet(directory, holder) as service:
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
    progress(f"does: {', '.join(service.actions)}; Ctrl-C ends it")


@asynccontextmanager
async def _open_desk(directory: Path, name: str) -> AsyncIterator[Service]:
    from institutions.service.actions import issuer_actions, verifier_actions, witness_actions
    from institutions.service.runner import Service
    from node.client import ClientError, RpcClient

    item = unlock(directory, find_institution(directory, name))
    async with AsyncExitStack() as stack:
        urls = _urls(directory, item)
        clients = [await stack.enter_async_context(RpcClient(url)) for url in urls]
        store = stack.enter_context(open_store(directory, "desks", name))
        key = await _first_answer(
            [partial(find_document_key, directory, item, client) for client in clients]
        )
        signers = [build_signer(item, client) for client in clients]
        pairs = list(zip(clients, signers, strict=True))
        issuers = [build_issuer_desk(item, one, store, key, signer) for one, signer in pairs]
        verifiers = [build_verifier_desk(item, one, store, signer=signer) for one, signer in pairs]

        def at(desks: list[Any]) -> Any:
            return lambda number: desks[number % len(desks)]

        with suppress(ClientError):  # what is left stays left
            await issuers[0].register_left()
        org_ids = {one.spec.id: one.org_id for one in list_institutions(directory)}
        yield Service(
            store,
            {
                **issuer_actions(at(issuers), now_s),
                **witness_actions(at(signers), item.org_id, org_ids),
                **verifier_actions(at(verifiers), at(signers), now_s),
            },
        )


async def _first_answer(questions: list[Callable[[], Awaitable[T]]]) -> T:
    """Return the first answer; `ClientError` if no node gives one."""
    from node.client import ClientError

    *others, last = questions
    for ask in others:
        with suppress(ClientError):
            return await ask()
    return await last()


def _urls(directory: Path, item: PlannedInstitution) -> list[str]:
    """The institution's own node first, then those of its side, to turn to if it is away."""
    plan = load(directory)
    others = [node.url for node in plan.nodes if node.side is item.spec.side]
    return list(dict.fromkeys([item.node.url, *others]))


@asynccontextmanager
async def _open_wallet(directory: Path, name: str) -> AsyncIterator[Service]:
    from institutions.service.actions import wallet_actions
    from institutions.service.runner import Service

    plan = load(directory)
    with open_store(directory, "wallets", name) as store:
        wallet = build_wallet(plan, name, store)
        yield Service(store, wallet_actions(wallet, plan.genesis.web3_chain_id, now_s))
