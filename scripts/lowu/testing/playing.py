"""Runs a test's async function, and explains the mistakes that async code invites."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
A = TypeVar("A")
F = TypeVar("F")
_FORGOTTEN = "'coroutine' object"
_MEND = (
    "an `await` is missing: what actors do is async, as in `issued = await actors.issue(…)`, and "
    "faults are entered with `async with`"
)


async def call(function: Callable[[A, F], Awaitable[T]], actors: A, faults: F) -> T:
    """Call a test's async function with the actors and the faults; return what it returns.

    Raises:
        TypeError: it is not async, or returns something that was not awaited.
    """
    made = function(actors, faults)
    if not inspect.isawaitable(made):
        raise TypeError(
            "play runs an async function of two arguments: `async def story(actors, faults): …`"
        )
    result = await made
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError(f"the function returned a coroutine; {_MEND}")
    return result


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
    except (AttributeError, TypeError) as error:
        raise _explained(error) from error.__cause__


def _find_only(error: BaseException) -> BaseException | None:
    """Return the only error that a group holds, however deep; None if there are several."""
    while isinstance(error, BaseExceptionGroup):
        if len(error.exceptions) != 1:
            return None
        (error,) = error.exceptions
    return error


def _explained(error: BaseException) -> BaseException:
    if isinstance(error, (AttributeError, TypeError)) and _FORGOTTEN in str(error):
        error.add_note(_MEND)
    return error
