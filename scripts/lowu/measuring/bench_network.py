"""Temporary networks for measuring: started, watched, stopped and removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import trio

from lowu.experiments.load.offering import SignedLoad, build_network, sign_registrations
from lowu.node.errors import NodeError
from lowu.node.topology.control import Control
from lowu.node.topology.network import UpResult, bring_up
from lowu.node.topology.plan import Plan, build_plan
from lowu.node.topology.spec import parse_spec
from lowu.output import Progress
from lowu.temporary import temporary_network_folder


@dataclass(frozen=True, slots=True)
class Running:
    """A network that is up."""

    folder: Path
    up: UpResult
    pids: dict[str, int]
    """Process ids, by node."""

    @property
    def urls(self) -> list[str]:
        """The nodes' URLs."""
        return [node.url for node in self.up.plan.nodes]

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU time of each node so far."""
        return {name: cpu_s(pid) for name, pid in self.pids.items()}


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process and its children so far, user and system, in seconds."""
    try:
        process = psutil.Process(pid)
        times = [item.cpu_times() for item in (process, *process.children(recursive=True))]
    except psutil.NoSuchProcess as error:
        raise NodeError(f"process {pid} stopped while it was being measured") from error
    return float(sum(item.user + item.system for item in times))


def pss_mb(pid: int) -> float:
    """Return a process's memory (PSS) in MB: shared memory counts only by its share."""
    info = psutil.Process(pid).memory_full_info()
    if not hasattr(info, "pss"):
        raise NodeError("proportional memory (PSS) is available on Linux only")
    return float(info.pss) / 1e6


def plan_load(nodes: int) -> Plan:
    """Return the plan of a network for load, as `running_network` starts it."""
    return build_plan(parse_spec(build_network(nodes), Path(f"load-{nodes}")))


def sign_for(plan: Plan, count: int, issuers: int | None = None) -> list[SignedLoad]:
    """Return `count` registrations, rounded up so that each issuer signs equally many."""
    return Shares(plan, issuers).take(count)


class Shares:
    """Registrations of several issuers, signed as they are handed out."""

    def __init__(self, plan: Plan, issuers: int | None = None) -> None:
        self._chain_id = plan.genesis.web3_chain_id
        self._keys = [item.account_key for item in plan.institutions[:issuers]]
        self._used = 0

    def take(self, count: int) -> list[SignedLoad]:
        """Return the next `count` registrations, rounded up to equally many of each issuer."""
        start, each = self._used, -(-count // len(self._keys))
        self._used += each
        return [sign_registrations(key, self._chain_id, each, start) for key in self._keys]


@contextmanager
def running_network(text: str) -> Iterator[Running]:
    """Start a network as `lowu up` does, in a temporary folder; stop and remove it at the end."""
    with temporary_network_folder("bench") as folder:
        up = trio.run(bring_up, folder, text, Path("bench"))
        states = Control(folder).order("status")
        ended = [item["name"] for item in states if item["pid"] is None]
        if ended:
            raise NodeError(f"{', '.join(ended)} stopped after starting; `lowu up` shows why")
        yield Running(folder, up, {item["name"]: int(item["pid"]) for item in states})


def tell(progress: Progress, number: int, rounds: int, text: str) -> None:
    """Report the result of a round."""
    progress(f"round {number + 1} of {rounds}: {text}")
