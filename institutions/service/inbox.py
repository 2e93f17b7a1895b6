"""A desk's folder: orders come into `inbox`, answers go to `outbox`.

An order is a file `inbox/NAME.order.json`, with the files that it needs beside it. The desk takes
an order by moving it and its files to `work/NAME`, so that no later change of the inbox alters
it, even if another process continues it. Its answer is the folder `outbox/NAME` with
`answer.json` and the files made; the folder appears complete. One process at a time serves a
folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import trio

from lowu.institutions.files import hold_lock, make_private_folder, read_given, write_private
from lowu.institutions.package.format import PACKAGE_BYTES_MAX
from lowu.institutions.package.forms import FormError
from lowu.institutions.service.orders import (
    ORDER_BYTES_MAX,
    ORDER_FILE,
    SUFFIX,
    Answer,
    Order,
    decode_order,
    list_files,
)
from lowu.institutions.service.runner import NameTakenError, NoAnswerYetError, Service, fail

POLL_S = 0.1
AT_ONCE = 16
"""Most orders carried out at the same time."""
ROUND = 3
"""Tries of an order before other orders get a turn."""

Tell = Callable[[str, Answer | None], None]
"""Receives each order's name and its answer, or None if no node has answered yet."""


class MailboxError(Exception):
    """A folder cannot be served; the text says what to do."""


class Mailbox:
    """The folder of one desk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.inbox, self.outbox, self.work = (folder / name for name in ("inbox", "outbox", "work"))
        for place in (self.inbox, self.outbox, self.work):
            make_private_folder(place)
        self._rounds: dict[str, int] = {}
        """By name of an order at work: the number of rounds in which no node answered."""

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process from serving this folder.

        Raises:
            MailboxError: another process serves it.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(hold_lock(self._folder / "lock"))
            except OSError as error:
                text = f"{self._folder} is already served by another process; stop that one first"
                raise MailboxError(text) from error
            yield

    def take(self) -> list[str]:
        """Move orders from inbox to work; return all names at work, the next to do first.

        An order waits in the inbox while an order of the same name is at work.
        """
        for entry in _scan(self.inbox):
            name = entry.name.removesuffix(SUFFIX)
            if entry.name.endswith(SUFFIX) and not os.path.lexists(self.work / name / ORDER_FILE):
                with suppress(FileNotFoundError):  # its sender removed it
                    self._take(name)
        names = [
            entry.name
            for entry in _scan(self.work)
            if os.path.lexists(self.work / entry.name / ORDER_FILE)
        ]
        self._rounds = {name: self._rounds.get(name, 0) for name in names}
        return sorted(names, key=lambda name: (self._rounds[name], _age(self.work / name)))

    def _take(self, name: str) -> None:
        """Move one order, its own file last: until then the order counts as not taken."""
        source, place = self.inbox / f"{name}{SUFFIX}", self.work / name
        make_private_folder(place)
        try:
            needed = list(list_files(_read(source, ORDER_BYTES_MAX)).values())
        except FormError:
            needed = []  # reading the order will refuse it
        for item in needed:
            if os.path.lexists(self.inbox / item):
                _remove(place / item)  # left by an order that its sender took back
                (self.inbox / item).rename(place / item)
        source.rename(place / ORDER_FILE)

    def read(self, name: str) -> Order:
        """Return a taken order; `FormError` says what is wrong with it."""
        place = self.work / name
        data = _read(place / ORDER_FILE, ORDER_BYTES_MAX)
        files = {
            item: _read(place / item, PACKAGE_BYTES_MAX)
            for item in list_files(data).values()
            if os.path.lexists(place / item)
        }
        return decode_order(name, data, files)

    def reply(self, name: str, answer: Answer, folder: str = "") -> None:
        """Put an answer into the outbox, and remove the order."""
        target, draft = self.outbox / (folder or _name_answer(name)), self.work / ".answer"
        _remove(draft)
        make_private_folder(draft)
        for item, data in answer.files.items():
            write_private(draft / item, data)
        told = {"ok": answer.is_ok, **answer.details, "files": sorted(answer.files)}
        text = json.dumps(told, ensure_ascii=False, indent=1) + "\n"
        write_private(draft / "answer.json", text.encode())
        remove_answers(self._folder, answer.details.get("orders_erased", ()))
        _remove(target)
        draft.rename(target)
        _remove(self.work / name)
        self._rounds.pop(name, None)

    async def serve(self, service: Service, tell: Tell) -> None:
        """Carry out all orders that arrive, each in a task of its own; never returns."""
        taken: set[str] = set()

        async def handle(name: str) -> None:
            await self._do(name, service, tell, ROUND)
            taken.discard(name)

        async with trio.open_nursery() as nursery:
            while True:
                for name in self.take():
                    if name not in taken and len(taken) < AT_ONCE:
                        taken.add(name)
                        nursery.start_soon(handle, name)
                await trio.sleep(POLL_S)

    async def serve_once(self, service: Service, tell: Tell, *, tries: int) -> bool:
        """Carry out the orders that are there; return whether all were answered."""
        names = self.take()
        for name in names:
            await self._do(name, service, tell, tries)
        return not set(names) & set(self.take())

    async def _do(self, name: str, service: Service, tell: Tell, tries: int) -> None:
        folder = ""
        try:
            answer = await service.do(self.read(name), tries)
        except NameTakenError as error:
            answer, folder = Answer(False, {"error": str(error)}), f"{name}+refused"
        except FormError as error:
            answer = Answer(False, {"error": str(error)})
        except (OverflowError, RecursionError, UnicodeError) as error:
            answer = fail(error)  # an order that cannot even be read
        except NoAnswerYetError:
            self._rounds[name] = self._rounds.get(name, 0) + 1
            tell(name, None)
            return
        self.reply(name, answer, folder)
        tell(name, answer)


def _name_answer(name: str) -> str:
    """Return the folder of an order's answer; an odd name gives another's no place."""
    if name.isprintable() and "+" not in name:
        return name
    return f"misnamed+{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"


def remove_answers(folder: Path, orders: Iterable[str]) -> None:
    """Remove orders' answers from a desk's folder, because their document is erased."""
    for name in orders:
        _remove(folder / "outbox" / name)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    """Return the visible entries of a folder, in order of names."""
    found = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    return sorted(found, key=lambda entry: entry.name)


def _age(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _read(path: Path, size_max: int) -> bytes:
    return read_given(path, size_max, may_be_link=False)
