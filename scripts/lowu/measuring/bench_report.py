"""What all benches share: spreads, the machine, and results as a table, JSON and a plot."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import click

from lowu.cli import emit_json
from lowu.experiments.load import outcomes
from lowu.measuring.plots import Points, check_plot, draw_lines
from lowu.node.version import CLIENT_VERSION
from lowu.output import print_table

GIT_S = 5.0
"""How long git may take."""
_PACKAGES = ("py-evm", "coincurve", "rocksdict", "trio", "h11", "msgpack", "cryptography")


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.values)

    def describe(self, digits: int = 1) -> str:
        """Return the median with the range."""
        low, high = min(self.values), max(self.values)
        return f"{self.median:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """Return the ratio of numerator to denominator in each round."""
    return Spread(tuple(a / b for a, b in zip(numerators, denominators, strict=True)))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` percent do not exceed (nearest rank)."""
    return outcomes.percentile(sorted(values), share / 100)


def describe_machine() -> dict[str, Any]:
    """Return what a measurement depends on: the machine, its current load, and versions."""
    versions = {"lowu": CLIENT_VERSION}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 1,
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": versions,
    }


def find_commit() -> str:
    """Return the commit of a source checkout, with + if files differ from it; empty elsewhere."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return ""

    def ask(*command: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *command],  # noqa: S607  (as users start it)
            capture_output=True, encoding="utf-8", check=True, timeout=GIT_S,
        )  # fmt: skip
        return done.stdout.strip()

    try:
        return ask("rev-parse", "HEAD") + ("+" if ask("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model n")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def print_machine(machine: dict[str, Any]) -> None:
    """Print two lines about the machine and the versions."""
    click.echo(
        f"{machine['cpu']}, {machine['cores']} cores, load average before {machine['load']}, "
        f"{machine['system']}, Python {machine['python']}"
    )
    click.echo(", ".join(f"{name} {number}" for name, number in machine["packages"].items()))


class BenchReport:
    """The results of one bench. Create it before measuring: the load noted is that of others."""

    def __init__(self, *, is_json: bool, plot: Path | None) -> None:
        check_plot(plot)
        self.machine = describe_machine()
        self._is_json = is_json
        self._plot = plot
        self._spreads: dict[str, tuple[Spread, int]] = {}
        self._missing: list[str] = []

    def add(self, name: str, values: Sequence[float], digits: int = 1) -> None:
        """Add a figure with one value per round, shown with `digits` decimals."""
        if values:
            self._spreads[name] = Spread(tuple(values)), digits

    def note_version(self, name: str, text: str) -> None:
        """Note the version of something that was measured."""
        self.machine["packages"][name] = text

    def note_missing(self, what: str) -> None:
        """Note something that was requested but could not be measured."""
        self._missing.append(what)

    def emit(
        self,
        title: str,
        *,
        is_ok: bool = True,
        figures: dict[str, float] | None = None,
        **details: Any,
    ) -> None:
        """Print everything; `figures` are single numbers, `details` are for JSON only."""
        if self._is_json:
            medians = {name: round(item.median, 3) for name, (item, _) in self._spreads.items()}
            rounds = {name: _rounded(item.values) for name, (item, _) in self._spreads.items()}
            everything = {**(figures or {}), **medians}
            emit_json(
                is_ok,
                everything,
                machine=self.machine,
                missing=self._missing,
                rounds=rounds,
                **details,
            )
            return
        rows = [
            (name.removesuffix("_median").replace("_", " "), item.describe(digits))
            for name, (item, digits) in self._spreads.items()
        ]
        rows += [(name.replace("_", " "), f"{value:g}") for name, value in (figures or {}).items()]
        print_table(title, ("figure", "median (range)"), rows)
        for what in self._missing:
            click.echo(f"not measured: {what}")
        print_machine(self.machine)

    def draw_rounds(self, names: dict[str, str], label: str) -> None:
        """Draw figures by round; `names` maps figures to legends, `label` names the unit."""
        series: dict[str, Points] = {
            shown: [
                (float(number), value)
                for number, value in enumerate(self._spreads[name][0].values, start=1)
            ]
            for name, shown in names.items()
            if name in self._spreads
        }
        self.draw(series, "round", label)

    def draw(self, series: dict[str, Points], x_label: str, y_label: str) -> None:
        """Draw lines, if a plot was asked for."""
        if self._plot is not None:
            draw_lines(self._plot, series, x_label, y_label)
            click.echo(f"  plot written to {self._plot}", err=True)


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 3) for value in values]
