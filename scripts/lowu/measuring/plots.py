"""Plots of measurements."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from lowu.node.errors import ConfigError, MachineRefuses

SIZE_INCHES = (8, 4.5)
Points: TypeAlias = list[tuple[float, float]]
SUFFIXES = (".png", ".svg", ".pdf")
_UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
"""So that the same figures give the same file."""


def check_plot(path: Path | None) -> None:
    """Raise `ConfigError` before a long measurement if its plot could not be drawn."""
    if path is None:
        return
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"--plot {path}: the name must end with {', '.join(SUFFIXES)}")
    if not path.resolve().parent.is_dir():
        raise ConfigError(f"--plot {path}: there is no folder {path.parent}")
    _load()


def draw_lines(path: Path, series: dict[str, Points], x_label: str, y_label: str) -> None:
    """Draw lines through points, one for each name, and save the picture.

    Raises:
        MachineRefuses: the file cannot be written.
    """
    figure, axes = _load().subplots(figsize=SIZE_INCHES, layout="constrained")
    for name, points in series.items():
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, path)


def draw_plot(path: Path, plot: Mapping[str, Any]) -> Path:
    """Draw one of a report's plots, and save the picture; return its path.

    Raises:
        MachineRefuses: the file cannot be written.
    """
    figure, axes = _load().subplots(figsize=SIZE_INCHES, layout="constrained")
    times, *lines = plot["data"]
    for number, (label, values) in enumerate(zip(plot["series"], lines, strict=True)):
        axes.plot(
            times,
            [math.nan if value is None else value for value in values],
            label=label,
            marker="o" if plot["dots"] else "",
            linestyle="--" if number in plot["dashed"] else "-",
        )
    for begins, ends, name in plot["bands"]:
        axes.axvspan(begins, begins if ends is None else ends, alpha=0.15, color="tab:red")
        axes.text(begins, 1.0, name, transform=axes.get_xaxis_transform(), va="top")
    axes.set(xlabel=plot["x"], ylabel=plot["y"], title=plot["title"])
    axes.set_ylim(bottom=0)
    if plot["log_x"]:
        axes.set_xscale("log")
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, path)
    return path


def _save(figure: Any, path: Path) -> None:
    try:
        figure.savefig(path, metadata=_UNDATED.get(path.suffix))
    except OSError as error:
        raise MachineRefuses(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        _load().close(figure)


def _load() -> Any:
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ConfigError("plots need matplotlib: `pip install 'lowu[plots]'`") from error
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "lowu"
    from matplotlib import pyplot as plt

    return plt
