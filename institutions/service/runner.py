"""A desk as a service: does each order once, and tries again until a node answers.

What became of an order is stored before anybody is told. An order that was cut off, by a crash or
by a node that did not answer, is begun again with the same number: whatever it did on the ledger
already is found there and not done twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from institutions.ledger.registry import RegistryRefused
from institutions.service.orders import Answer, Order, decode_answer, encode_answer
from institutions.service.store import Store
from node.client import ClientError, RemoteError

BACK_OFF_S = 0.1
BACK_OFF_MAX_S = 5.0
BACK_OFF_FACTOR = 2.0


class NoAnswerYetError(Exception):
    """No node gave an answer, as often as was tried; the order stays to be done."""


class NameTakenError(Exception):
    """Another order has the same name; its answer stays."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of an order."""

    order: Order
    number: int
    """From 0; which node to ask may follow from it."""
    is_again: bool
    """Whether something of it may have been done before."""


Action = Callable[[Attempt], Awaitable[Answer]]


class Service:
    """Does orders of a few kinds, with a store of what became of them."""

    def __init__(self, store: Store, actions: Mapping[str, Action]) -> None:
        self._actions = dict(actions)
        self._begun = store.open("orders_begun", bytes, bytes)
        """By number: the order's digest."""
        self._answers = store.open("answers", encode_answer, decode_answer)
        self._delivered = store.open("orders_delivered", bytes, bytes)
        """Numbers of the orders named by `name_order` whose answer has been handed over."""
        self._busy: set[bytes] = set()

    @property
    def actions(self) -> list[str]:
        """What it does."""
        return sorted(self._actions)

    def name_order(
        self, action: str, fields: Mapping[str, Any], files: Mapping[str, bytes] | None = None
    ) -> Order:
        """Name an order for a caller who gives it no name: a person at a command line.

        Until its answer has been delivered, the same action with the same fields and files is the
        same order, so a command that was cut off continues when it is run again. After that it is
        a new order.
        """
        content = Order("", action, fields, files or {}).digest.hex()[:32]
        named = (
            Order(f"{action}-{content}-{count}", action, fields, files or {})
            for count in itertools.count(1)
        )
        return next(order for order in named if order.number not in self._delivered)

    def note_delivered(self, order: Order) -> None:
        """Note that the caller has the answer, and has stored what it needs of it."""
        self._delivered[order.number] = b""

    async def do(self, order: Order, tries: int | None = None) -> Answer:
        """Do an order, or say again what became of it.

        Raises:
            NoAnswerYetError: no node answered in so many tries; ask again later.
            NameTakenError: another order has its name.
        """
        action = self._actions.get(order.action)
        if action is None:
            known = ", ".join(self.actions)
            return _refuse(f"{order.action!r} is not done here; there are: {known}")
        begun = self._begun.get(order.number)
        if begun not in (None, order.digest):
            raise NameTakenError(f"another order has the name {order.id!r}; take a new name")
        known_answer = self._answers.get(order.number)
        if known_answer is not None and not known_answer.is_made_again:
            return known_answer
        if order.number in self._busy:
            raise NoAnswerYetError(f"{order.id} is being done")
        self._busy.add(order.number)
        try:
            self._begun[order.number] = order.digest
            answer = await self._try(action, order, tries, is_again=begun is not None)
        finally:
            self._busy.discard(order.number)
        if known_answer is None:
            self._answers[order.number] = answer
        return answer

    async def _try(
        self, action: Action, order: Order, tries: int | None, *, is_again: bool
    ) -> Answer:
        number, pause_s = 0, BACK_OFF_S
        while True:
            try:
                return await action(Attempt(order, number, is_again or number > 0))
            except RegistryRefused as refusal:
                return _refuse(f"the registry refuses: {refusal}", code=str(refusal))
            except (ValueError, KeyError) as error:
                return _refuse(str(error.args[0]) if error.args else type(error).__name__)
            except (ClientError, RemoteError) as error:
                number += 1
                if tries is not None and number >= tries:
                    raise NoAnswerYetError(f"{order.id}: {error}") from error
            await trio.sleep(pause_s)
            pause_s = min(pause_s * BACK_OFF_FACTOR, BACK_OFF_MAX_S)


def _refuse(text: str, **details: str) -> Answer:
    return Answer(False, {"error": text, **details})
