"""What a verification reads from one node: the latest block, and the facts at or since it."""

from __future__ import annotations

from dataclasses import replace

from lowu.institutions.exchange.presentation import Presentation
from lowu.institutions.ledger.facts import Query
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.roles.member import Member
from lowu.institutions.verification.judging import LedgerView, number_of

HINT_AHEAD_MAX = 100
"""How many blocks a node may lag behind the registration that a holder claims, to be waited for."""


def take_as_latest(view: LedgerView | None) -> LedgerView | None:
    """Return a node's answers as if its latest block, however old, were the chain's."""
    return replace(view, staleness="") if view is not None and view.is_idle else view


def has_caught_up(view: LedgerView, shown: Presentation, needed: int) -> bool:
    """Whether a node is as far as what is asked for; a registration may be some blocks ahead."""
    hint = shown.anchor.registered_height
    if hint - view.height > HINT_AHEAD_MAX:
        hint = 0  # not what a holder could know
    return view.height >= max(needed, hint, view.facts.record.registered_height)


async def read_view(
    registry: Registry, shown: Presentation, verifier: Member, schema: int, use: int = 0
) -> LedgerView:
    """Read from one node all that a presentation to a verifier depends on, as of a block.

    `schema` is the number of the document's schema.
    """
    header, place, consent = shown.header, shown.anchor.batch, shown.consent
    query = Query(
        org=header.issuer_org,
        key_id=header.key_id,
        schema=schema,
        anchor=shown.anchor.registered,
        leaf=None if place is None else (shown.anchor.anchor, place.index, place.path),
        consent=None if consent is None else consent.ledger_id,
        presentation=shown.id,
        verifier=verifier.org_id,
        route=(number_of(header.jurisdiction), number_of(verifier.side)),
        as_of=use,
    )
    # The block first: the facts are of it, or at least as new.
    block = await registry.get_latest_block()
    facts = await registry.read_facts(query, block["hash"])
    return LedgerView(registry.client.url, block["number"], block["hash"], block["time"], facts)
