"""Networks for measuring: started afresh, watched, and taken down again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import trio

from experiments.load import Issuer, build_network, sign_registrations
from lowu.output import Progress
from node.topology.control import Control
from node.topology.network import UpResult, bring_up
from node.topology.plan import Plan, build_plan
from node.topology.spec import parse_spec


@dataclass(frozen=True, slots=True)
class Running:
    """A network that is up."""

    folder: Path
    up: UpResult
    pids: dict[str, int]
    """By node."""

    @property
    def urls(self) -> list[str]:
        """Where the nodes answer."""
        return [node.url for node in self.up.plan.nodes]

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU time of each node so far."""
        return {name: cpu_s(pid) for name, pid in self.pids.items()}


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process so far, user and system, in seconds."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def pss_mb(pid: int) -> float:
    """Return the proportional memory of a process: what is shared counts by its share."""
    return float(psutil.Process(pid).memory_full_info().pss) / 1e6


def plan_load(nodes: int) -> Plan:
    """Return the plan of a network for load, as `running_network` starts it."""
    return build_plan(parse_spec(build_network(nodes), Path(f"load-{nodes}")))


def sign_for(plan: Plan, count: int, issuers: int | None = None) -> list[Issuer]:
    """Return `count` registrations, evenly signed by the first institutions of a network."""
    chosen = plan.institutions[: issuers or len(plan.institutions)]
    chain_id = plan.genesis.web3_chain_id
    return [
        sign_registrations(item.account_key, chain_id, -(-count // len(chosen))) for item in chosen
    ]


class Shares:
    """Registrations of several issuers, handed out share by share."""

    def __init__(self, issuers: Sequence[Issuer]) -> None:
        self._issuers = issuers
        self._used = 0

    def take(self, count: int) -> list[Issuer]:
        """Return the next `count` registrations, evenly of all issuers."""
        start, self._used = self._used, self._used + -(-count // len(self._issuers))
        return [
            Issuer(item.address, item.first_nonce + start, item.raws[start : self._used])
            for item in self._issuers
        ]


@contextmanager
def running_network(text: str) -> Iterator[Running]:
    """Start a network as `lowu up` does, in a temporary folder; stop and remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="lowu-bench-")) / "nodes"
    control = Control(folder)
    try:
        up = trio.run(bring_up, folder, text, Path("bench"))
        pids = {item["name"]: int(item["pid"]) for item in control.order("status")}
        yield Running(folder, up, pids)
    finally:
        control.down()
        shutil.rmtree(folder.parent, ignore_errors=True)


def tell(progress: Progress, number: int, rounds: int, text: str) -> None:
    """Say how a round went."""
    progress(f"round {number + 1} of {rounds}: {text}")
