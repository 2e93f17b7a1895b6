"""Commands that fail at a step of their own files, and what must hold afterwards.

Each command is given once more, without the failure, and must complete what the first began.
Nothing may have been lost: a network that ran runs, an anchor on the ledger has its package, and an
account that has roles has its key.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias

import trio

from lowu.commands.crash.file_steps import MODES, VARIABLE, FileKind, FileMode, FileOrder
from lowu.contracts.abi import load_artifact
from lowu.contracts.registry import HASH_REGISTRY_ADDRESS
from lowu.institutions.exchange.erasure import decode_erasure, encode_erasure
from lowu.node.client import RpcClient
from lowu.node.topology.control import Control
from lowu.office import Office

COMMAND_S = 120.0
COUNTS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)
PASSWORD = "of a test"  # noqa: S105  (of key files that a test makes)
ISSUER, RECEIVER, HOLDER = "szcredit", "nova", "acme"
KILLED = -9


Run: TypeAlias = Callable[
    [Sequence[str], Path, Mapping[str, str]], subprocess.CompletedProcess[str]
]
"""Gives a command in a folder, with an environment, and returns what came of it."""


def run_in_process(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Give a command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "lowu", *arguments],
        cwd=folder, env=environment, capture_output=True, encoding="utf-8", errors="replace",
        check=False, timeout=COMMAND_S,
    )  # fmt: skip


class CommandFailed(Exception):
    """A command did not do what it must."""


@dataclass(slots=True)
class PlayedCommand:
    """A cell that has been played."""

    name: str
    is_reached: bool = False
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class CommandCell:
    """A command, and the step of its files at which it fails."""

    command: str
    order: FileOrder

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return f"{self.command}: {self.order}"


KINDS = {
    "up": (FileKind.CONFIGURATION, FileKind.KEYS),
    "up --set": (FileKind.CONFIGURATION,),
    "node add": (FileKind.CONFIGURATION, FileKind.KEYS),
    "node remove": (FileKind.CONFIGURATION,),
    "org account": (FileKind.KEYS,),
    "issue": (FileKind.STORE,),
    "erase": (FileKind.STORE,),
}
"""By command: the kinds of files that it writes."""
LIMITS = {
    "up": 89,
    "up --set": 34,
    "node add": 34,
    "node remove": 2,
    "org account": 5,
    "issue": 8,
    "erase": 13,
}
"""How many steps a command has, about."""


def list_command_cells() -> list[CommandCell]:
    """Return all cells, those of one command together."""
    return list(_cells())


def _cells() -> Iterator[CommandCell]:
    for command, kinds in KINDS.items():
        for kind in kinds:
            for mode in MODES[kind]:
                for count in COUNTS:
                    if count <= LIMITS[command]:
                        yield CommandCell(command, FileOrder(kind, mode, count))


class CommandTest:
    """Plays cells in a folder; the network that some of them share is started when it is needed."""

    def __init__(self, folder: Path, run: Run | None = None) -> None:
        """Take the folder of its networks; `run` gives commands, in tests otherwise."""
        self._folder = folder
        self._give = run or run_in_process
        self._shared = folder / "shared"
        self._is_shared_up = False
        self._number = 0
        self._plays: dict[str, Callable[[FileOrder], bool]] = {
            "up": self._play_up,
            "up --set": self._play_set,
            "node add": self._play_add,
            "node remove": self._play_remove,
            "org account": self._play_account,
            "issue": self._play_issue,
            "erase": self._play_erase,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for path in self._folder.iterdir():
            if (path / ".lowu").is_dir():
                Control(path).down()

    def play(self, cell: CommandCell) -> PlayedCommand:
        """Play a cell."""
        played, started = PlayedCommand(cell.name), time.monotonic()
        self._number += 1
        try:
            played.is_reached = self._plays[cell.command](cell.order)
        except CommandFailed as error:
            played.is_reached = True
            played.problems.append(str(error))
        except (
            ValueError,
            LookupError,
            OSError,
        ) as error:
            played.problems.append(f"{type(error).__name__}: {error}")
        played.seconds = time.monotonic() - started
        return played

    # --- commands ---------------------------------------------------------------------------

    def _run(
        self, *arguments: object, order: FileOrder | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "LOWU_PASSWORD": PASSWORD}
        if order is not None:
            environment[VARIABLE] = str(order)
        return self._give(list(map(str, arguments)), self._folder, environment)

    def _fails(self, order: FileOrder, *arguments: object) -> bool:
        """Give a command that is to fail; return whether it came to the step."""
        done = self._run(*arguments, order=order)
        if order.mode is FileMode.ERROR:
            if done.returncode == 0:
                return False
            if "Traceback" in done.stderr or not done.stderr.strip():
                raise CommandFailed(f"it does not say what is wrong: {done.stderr[-300:]!r}")
            return True
        return done.returncode == KILLED

    def _does(self, *arguments: object) -> dict[str, Any]:
        """Give a command that must succeed; return its object."""
        done = self._run(*arguments, "--json")
        if done.returncode != 0:
            told = " ".join(map(str, arguments))
            raise CommandFailed(f"`lowu {told}`: {done.stdout.strip() or done.stderr.strip()}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def _share(self) -> Path:
        if not self._is_shared_up:
            self._does("up", *([] if self._shared.exists() else ["dev-4"]), "--dir", self._shared)
            self._is_shared_up = True
        return self._shared

    # --- a new network, and its settings -----------------------------------------------------

    def _play_up(self, order: FileOrder) -> bool:
        folder = self._folder / f"up-{self._number}"
        is_reached = self._fails(order, "up", "dev-4", "--dir", folder)
        self._does("up", "dev-4", "--dir", folder)
        self._does("down", "--dir", folder)
        left = [path.name for path in self._folder.iterdir() if path.name.startswith(".")]
        if left:
            raise CommandFailed(f"it has left {left[0]}")
        return is_reached

    def _play_set(self, order: FileOrder) -> bool:
        folder, value = self._share(), 100 + self._number
        self._does("down", "--dir", folder)
        self._is_shared_up = False
        change = ("up", "--set", f"min_seal_time_ms={value}", "--dir", folder)
        is_reached = self._fails(order, *change)
        self._does("up", "--dir", folder)  # whatever it was: it starts
        self._does("down", "--dir", folder)
        self._does(*change)
        for path in folder.glob("127.0.0.1/node*/config.ini"):
            if f"min_seal_time={value}\n" not in path.read_text(encoding="utf-8"):
                raise CommandFailed(f"{path.parent.name} has another setting")
        self._is_shared_up = True
        return is_reached

    def _play_add(self, order: FileOrder) -> bool:
        folder = self._share()
        add = ("node", "add", "bea-hk", "--dir", folder)
        is_reached = self._fails(order, *add)
        if not is_reached:
            return False
        listed = self._does("node", "list", "--dir", folder)
        if not any(self._is_running(name) for name in _joined(listed)):
            self._does(*add)
        for name in _joined(self._does("node", "list", "--dir", folder)):
            if not self._is_running(name):
                self._does("start", name, "--dir", folder)
            self._does("node", "remove", name, "--dir", folder)
        self._does("issue", self._sample(), *self._parties(), "--dir", folder)
        return True

    def _play_remove(self, order: FileOrder) -> bool:
        folder = self._share()
        name, *others = _joined(self._does("node", "list", "--dir", folder)) or [
            self._does("node", "add", "bea-hk", "--dir", folder)["node"]
        ]
        for other in others:  # what a cell that failed has left
            self._does("node", "remove", other, "--dir", folder)
        remove = ("node", "remove", name, "--dir", folder)
        is_reached = self._fails(order, *remove)
        if is_reached:
            self._does(*remove)
        if self._is_running(name):
            raise CommandFailed(f"{name} still runs")
        if _joined(self._does("node", "list", "--dir", folder)):
            raise CommandFailed(f"{name} is still of the group")
        self._does("node", "add", name, "--dir", folder)
        self._does("node", "remove", name, "--dir", folder)
        return is_reached

    def _is_running(self, name: str) -> bool:
        nodes = self._does("status", "--dir", self._shared)["nodes"]
        return any(item["name"] == name and item["pid"] is not None for item in nodes)

    # --- an account's key, and the store of a desk ------------------------------------------

    def _play_account(self, order: FileOrder) -> bool:
        folder = self._share()
        change = ("org", "account", "--by", ISSUER, "--retire-old", "--dir", folder)
        is_reached = self._fails(order, *change)
        self._does(*change)
        self._does("issue", self._sample(), *self._parties(), "--dir", folder)
        return is_reached

    def _play_issue(self, order: FileOrder) -> bool:
        folder = self._share()
        issue = ("issue", self._sample(), *self._parties(), "--dir", folder)
        is_reached = self._fails(order, *issue)
        self._does(*issue)
        self._check_packages()
        return is_reached

    def _play_erase(self, order: FileOrder) -> bool:
        folder = self._share()
        issued = self._does("issue", self._sample(), *self._parties(), "--dir", folder)
        erase = ("erase", issued["anchor"], "--by", ISSUER, "--dir", folder)
        is_reached = self._fails(order, *erase)
        self._does(*erase)
        with Office(folder).open_store("desks", ISSUER) as store:
            if bytes.fromhex(issued["anchor"]) in store.open("issued", bytes, bytes):
                raise CommandFailed("the package is still there")
        self._check_packages()
        return is_reached

    def _sample(self) -> Path:
        path = self._folder / f"report-{self._number}.json"
        if not path.exists():
            self._does("sample", "cn.ecr/1", "--output", path)
        return path

    @staticmethod
    def _parties() -> tuple[str, ...]:
        return ("--by", ISSUER, "--for", RECEIVER, "--holder", HOLDER)

    def _check_packages(self) -> None:
        """Each anchor that is registered must have its package, or be erased."""
        office = Office(self._shared)
        with office.open_store("desks", ISSUER) as store:
            held = set(store.open("issued", bytes, bytes))
            erasures = store.open("erasures", encode_erasure, decode_erasure).readable()
        erased = {made.anchor for item in erasures for made in item.anchors}
        url = office.find(ISSUER).node.url
        for anchor in trio.run(_read_anchors, url, office.find(ISSUER).org_id):
            if anchor not in held | erased:
                raise CommandFailed(f"{anchor.hex()} is registered and its package lost")


def _joined(listed: dict[str, Any]) -> list[str]:
    """Return the nodes that are of the group, and were not from the start."""
    return [item["name"] for item in listed["nodes"] if item["name"] not in _FIRST]


_FIRST = {f"node{number}" for number in range(4)}


async def _read_anchors(url: str, org_id: int) -> list[bytes]:
    """Return all anchors that an organisation has registered."""
    topic = load_artifact("HashRegistry").events["AnchorRegistered"].topic
    wanted = {
        "address": "0x" + HASH_REGISTRY_ADDRESS.hex(),
        "topics": ["0x" + topic.hex(), f"0x{org_id:064x}"],
        "fromBlock": "0x0",
        "toBlock": "latest",
    }
    async with RpcClient(url) as client:
        logs = await client.call("eth_getLogs", wanted)
    return [bytes.fromhex(item["topics"][2][2:]) for item in logs]
