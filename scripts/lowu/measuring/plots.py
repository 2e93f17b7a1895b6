"""Plots of measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

from lowu.node.errors import ConfigError, MachineRefuses

SIZE_INCHES = (8, 4.5)
Points: TypeAlias = list[tuple[float, float]]
SUFFIXES = (".png", ".svg", ".pdf")


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
    pyplot = _load()
    figure, axes = pyplot.subplots(figsize=SIZE_INCHES, layout="constrained")
    for name, points in series.items():
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    try:
        figure.savefig(path)
    except OSError as error:
        raise MachineRefuses(f"--plot {path}: cannot be written ({error.strerror})") from error
    finally:
        pyplot.close(figure)


def _load() -> Any:
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ConfigError("--plot needs matplotlib: `pip install 'lowu[plots]'`") from error
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    return plt
