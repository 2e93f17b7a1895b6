"""A service: carries out each order once, and retries until a node answers.

The answer to an order is stored before it is returned. An order that was interrupted, by a crash
or a node that did not answer, starts again with the same number: whatever it already did on the
ledger is found there and not done twice.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from lowu.institutions.ledger.facts import RegistryRefused
from lowu.institutions.service.orders import Answer, Order, decode_answer, encode_answer
from lowu.institutions.service.store import Store, StoreError
from lowu.node.client import ClientError, RemoteError

BACK_OFF_S = 0.1
BACK_OFF_MAX_S = 5.0
BACK_OFF_FACTOR = 2.0
CAUSE_MAX = 4_000
"""Most characters of a cause that are kept."""


class NoAnswerYetError(Exception):
    """No node answered in the allowed number of tries; the order is still to be done."""


class NameTakenError(Exception):
    """Another order has the same name and keeps its answer."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of an order."""

    order: Order
    number: int
    """Counts from 0; it selects the node to ask."""
    is_again: bool
    """Whether an earlier try may have done part of the order."""


Action = Callable[[Attempt], Awaitable[Answer]]


class Service:
    """Carries out orders of some actions, and stores their answers."""

    def __init__(self, store: Store, actions: Mapping[str, Action]) -> None:
        self._actions = dict(actions)
        self._begun = store.open("orders_begun", bytes, bytes)
        """By order number: the order's digest."""
        self._answers = store.open("answers", encode_answer, decode_answer)
        self._delivered = store.open("orders_delivered", bytes, bytes)
        """Numbers of orders named by `name_order` whose answers were delivered."""
        self._busy: set[bytes] = set()

    @property
    def actions(self) -> list[str]:
        """The names of its actions."""
        return sorted(self._actions)

    def name_order(
        self, action: str, fields: Mapping[str, Any], files: Mapping[str, bytes] | None = None
    ) -> Order:
        """Name an order for a caller that gives it no name, such as a person at a command line.

        Until its answer has been delivered, the same action with the same fields and files is the
        same order, so an interrupted command continues when it is run again. After that it is a
        new order.
        """
        content = Order("", action, fields, files or {}).digest.hex()[:32]
        named = (
            Order(f"{action}-{content}-{count}", action, fields, files or {})
            for count in itertools.count(1)
        )
        return next(order for order in named if order.number not in self._delivered)

    def note_delivered(self, order: Order) -> None:
        """Record that the caller has the answer and has stored what it needs."""
        self._delivered[order.number] = b""

    async def do(self, order: Order, tries: int | None = None) -> Answer:
        """Carry out an order, or return its stored answer.

        Raises:
            NoAnswerYetError: no node answered in `tries` tries; repeat the order later.
            NameTakenError: another order has its name.
        """
        action = self._actions.get(order.action)
        if action is None:
            known = ", ".join(self.actions)
            return _refuse(f"{order.action!r} is not an action here; there are: {known}")
        begun = self._begun.get(order.number)
        if begun not in (None, order.digest):
            raise NameTakenError(f"another order has the name {order.id!r}; take a new name")
        known_answer = self._answers.get(order.number)
        if known_answer is not None and not known_answer.is_made_again:
            return known_answer
        if order.number in self._busy:
            raise NoAnswerYetError(f"{order.id} is in progress")
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
                return _refuse(f"the registry refused: {refusal}", code=str(refusal))
            except (ValueError, KeyError) as error:
                return _refuse(str(error.args[0]) if error.args else type(error).__name__)
            except StoreError:
                raise  # nothing can be kept: the service cannot go on
            except (ClientError, RemoteError) as error:
                number += 1
                if tries is not None and number >= tries:
                    raise NoAnswerYetError(f"{order.id}: {error}") from error
            except Exception as error:  # noqa: BLE001  (a hostile file must not end the service)
                return fail(error)
            await trio.sleep(pause_s)
            pause_s = min(pause_s * BACK_OFF_FACTOR, BACK_OFF_MAX_S)


def fail(error: Exception) -> Answer:
    """Return the answer to an order that failed in a way nobody foresaw, with the cause."""
    kind = type(error).__name__
    told = f"the order failed unexpectedly ({kind}: {str(error)[:200]}); please report this"
    cause = "".join(traceback.format_exception(error))[-CAUSE_MAX:]
    return _refuse(told, code="UNEXPECTED", cause=cause)


def _refuse(text: str, **details: str) -> Answer:
    return Answer(False, {"error": text, **details})
