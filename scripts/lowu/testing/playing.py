"""Runs a test's async function, and explains the mistakes that async code invites."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
A = TypeVar("A")
_MEND = "an `await` is missing: what actors do is async, as in `issued = await actors.issue(…)`"
_ENTER = "a fault is entered: `async with faults.down(…):`"
_NEVER_AWAITED = " was never awaited"


class Faults(Protocol):
    """Faults that can say which of them were made and never entered."""

    def list_unused(self) -> list[str]:
        """Return the calls that made them."""


F = TypeVar("F", bound=Faults)


async def call(function: Callable[[A, F], Awaitable[T]], actors: A, faults: F) -> T:
    """Call a test's async function with the actors and the faults; return what it returns.

    Raises:
        TypeError: it is not async, or something that it made was not awaited or entered.
    """
    if inspect.iscoroutine(function):
        function.close()
        raise TypeError("play takes the function itself, without calling it: `play(story)`")
    made = function(actors, faults)
    if not inspect.isawaitable(made):
        raise TypeError(
            "play runs an async function of two arguments: `async def story(actors, faults): …`"
        )
    __tracebackhide__ = True
    with _watched_coroutines() as forgotten:
        try:
            result = await made
        except BaseException as error:
            _add_note(error, forgotten, _MEND)
            _add_note(error, faults.list_unused(), _ENTER)
            raise
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError(f"the function returned a coroutine; {_MEND}")
    for without_effect, mend in ((forgotten, _MEND), (faults.list_unused(), _ENTER)):
        if without_effect:
            raise TypeError(_tell(without_effect, mend))
    return result


def _tell(without_effect: list[str], mend: str) -> str:
    return f"without effect: {', '.join(without_effect)}; {mend}"


def _add_note(error: BaseException, without_effect: list[str], mend: str) -> None:
    if without_effect:
        error.add_note(_tell(without_effect, mend))


@contextmanager
def _watched_coroutines() -> Iterator[list[str]]:
    """Collect the coroutines that are dropped without being awaited; Python only warns of them.

    All other warnings go where they went, by the filters that are set.
    """
    forgotten: list[str] = []
    with warnings.catch_warnings():
        show = warnings.showwarning

        def take(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            text = str(message)
            if category is RuntimeWarning and text.endswith(_NEVER_AWAITED):
                forgotten.append(text.removesuffix(_NEVER_AWAITED))
            else:
                show(message, category, *where, **more)

        warnings.filterwarnings("always", f".*{_NEVER_AWAITED}", RuntimeWarning)
        warnings.showwarning = take
        yield forgotten


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raise the one error in groups of one, as nurseries make them, and explain a lost `await`."""
    try:
        yield
    except BaseExceptionGroup as group:
        only = _find_only(group)
        if only is None:
            raise
        raise _explained(only) from only.__cause__
    except Exception as error:  # noqa: BLE001  (raised again)
        raise _explained(error) from error.__cause__


def _find_only(error: BaseException) -> BaseException | None:
    """Return the only error that a group holds, however deep; None if there are several."""
    while isinstance(error, BaseExceptionGroup):
        if len(error.exceptions) != 1:
            return None
        (error,) = error.exceptions
    return error


def _explained(error: BaseException) -> BaseException:
    if "'coroutine' object" in str(error) or _close_unbegun(error.__traceback__):
        error.add_note(_MEND)
    return error


def _close_unbegun(traceback: TracebackType | None) -> bool:
    """Close the coroutines that functions on the way of an error had in hand and never began.

    Python would warn of them in a later test. Returns whether there were any.
    """
    found = False
    while traceback is not None:
        for value in traceback.tb_frame.f_locals.values():
            if _is_unbegun(value):
                value.close()
                found = True
        traceback = traceback.tb_next
    return found


def _is_unbegun(value: Any) -> bool:
    return inspect.iscoroutine(value) and inspect.getcoroutinestate(value) == inspect.CORO_CREATED
