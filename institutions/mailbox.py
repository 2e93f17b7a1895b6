"""A desk's folder: orders come into `inbox`, answers go to `outbox`.

An order is a file `inbox/NAME.order.json`, with the files that it needs beside it; its answer is
the folder `outbox/NAME`, with `answer.json` and what was made. Answers appear whole, and orders
should: written under another name and renamed. An order's file is removed once its answer is
there, so what is in the inbox is still to be done.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import trio

from institutions.forms import FormError
from institutions.orders import ORDER_BYTES_MAX, Answer, Order, decode_order, list_files
from institutions.package import PACKAGE_BYTES_MAX
from institutions.service import NoAnswerYetError, Service

POLL_S = 0.1
AT_ONCE = 16
"""Orders that are being done at the same time."""
SUFFIX = ".order.json"

Tell = Callable[[str, Answer | None], None]
"""Is told of each order's name, and its answer; None if no node answered."""


class Mailbox:
    """The folder of one desk."""

    def __init__(self, folder: Path) -> None:
        self.inbox = folder / "inbox"
        self.outbox = folder / "outbox"
        for place in (self.inbox, self.outbox):
            place.mkdir(parents=True, exist_ok=True)

    def list_orders(self) -> list[str]:
        """Return the names of the orders that are there, the oldest first."""
        found = [
            (entry.stat().st_mtime_ns, entry.name.removesuffix(SUFFIX))
            for entry in os.scandir(self.inbox)
            if entry.is_file(follow_symlinks=False)
            and entry.name.endswith(SUFFIX)
            and not entry.name.startswith(".")
        ]
        return [name for _, name in sorted(found)]

    def read(self, name: str) -> Order:
        """Return an order; `FormError` says what is wrong with it."""
        data = _read(self.inbox / f"{name}{SUFFIX}", ORDER_BYTES_MAX)
        files = {
            item: _read(self.inbox / item, PACKAGE_BYTES_MAX)
            for item in list_files(data)
            if (self.inbox / item).is_file()
        }
        return decode_order(name, data, files)

    def reply(self, name: str, answer: Answer) -> None:
        """Put an answer into the outbox, and take its order out of the inbox."""
        target, draft = self.outbox / name, self.outbox / f".{name}.draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        for item, data in answer.files.items():
            (draft / item).write_bytes(data)
        told = {"ok": answer.is_ok, **answer.details, "files": sorted(answer.files)}
        (draft / "answer.json").write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
        (self.inbox / f"{name}{SUFFIX}").unlink(missing_ok=True)

    async def serve(self, service: Service, tell: Tell, *, tries: int | None = None) -> None:
        """Do all orders that come, each in a task of its own; never returns."""
        limit = trio.CapacityLimiter(AT_ONCE)
        taken: set[str] = set()

        async def handle(name: str) -> None:
            async with limit:
                await self._do(name, service, tell, tries)
            taken.discard(name)

        async with trio.open_nursery() as nursery:
            while True:
                for name in self.list_orders():
                    if name not in taken and len(taken) < AT_ONCE:
                        taken.add(name)
                        nursery.start_soon(handle, name)
                await trio.sleep(POLL_S)

    async def serve_once(self, service: Service, tell: Tell, *, tries: int) -> bool:
        """Do the orders that are there; return whether all were answered."""
        names = self.list_orders()
        for name in names:
            await self._do(name, service, tell, tries)
        return not set(names) & set(self.list_orders())

    async def _do(self, name: str, service: Service, tell: Tell, tries: int | None) -> None:
        try:
            answer = await service.do(self.read(name), tries)
        except FormError as error:
            answer = Answer(False, {"error": str(error)})
        except NoAnswerYetError:
            tell(name, None)
            return
        self.reply(name, answer)
        tell(name, answer)


def _read(path: Path, size_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(size_max + 1)
    except OSError as error:
        raise FormError(f"{path.name}: cannot be read ({error.strerror})") from error
    if len(data) > size_max:
        raise FormError(f"{path.name}: larger than {size_max} bytes")
    return data
