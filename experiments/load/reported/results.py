"""The folder with an experiment's results, read back: reports and comparisons need nothing else."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lowu.experiments.load.observed import (
    BlockTimes,
    Sample,
    read_phases_file,
    read_samples_file,
)
from lowu.experiments.load.outcomes import Records, read_records
from lowu.experiments.load.planned.experiment_file import Experiment, parse_experiments
from lowu.institutions.files import read_given
from lowu.institutions.package.forms import FormError

RECORDS = "records.csv"
TEXT_BYTES_MAX = 64 << 20


class ResultsError(Exception):
    """A folder holds no results, or damaged ones; the text says what to do."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One run, as it was written down."""

    folder: Path
    told: Mapping[str, Any]
    """What run.json says."""

    @property
    def figures(self) -> dict[str, float]:
        """Its figures by name; NaN where there is none."""
        raw = self.told["figures"]
        return {name: math.nan if value is None else float(value) for name, value in raw.items()}

    @property
    def is_valid(self) -> bool:
        """Whether its figures can be relied on."""
        return bool(self.told["valid"])

    def read_records(self) -> Records:
        """Return a row for each transaction."""
        return read_records(self.folder / RECORDS)

    def read_samples(self) -> list[Sample]:
        """Return CPU time and memory of the processes, second by second; of old runs, none."""
        return read_samples_file(self.folder / "samples.csv")

    def read_phases(self) -> list[BlockTimes]:
        """Return when blocks passed each phase at each node; of old runs, nothing."""
        return read_phases_file(self.folder / "phases.csv")

    def read_blocks(self) -> list[tuple[int, float, int]]:
        """Return height, the second at which it was seen, and transactions of each block."""
        if not (self.folder / "blocks.csv").is_file():
            raise ValueError("blocks.csv is missing")
        with (self.folder / "blocks.csv").open(encoding="utf-8", newline="") as file:
            return [
                (int(row["height"]), float(row["at_s"]), int(row["transactions"]))
                for row in csv.DictReader(file)
            ]


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """An experiment of a sweep, with its runs."""

    experiment: Experiment
    runs: tuple[StoredRun, ...]

    @property
    def name(self) -> str:
        """What sets it apart from the others of the sweep; empty if there is no other."""
        return ", ".join(f"{key} = {value}" for key, value in self.experiment.point.items())


@dataclass(frozen=True, slots=True)
class StoredResults:
    """All of a folder."""

    folder: Path
    manifest: Mapping[str, Any]
    points: tuple[StoredPoint, ...]
    text: str
    """The experiment's file."""

    @property
    def provider(self) -> str:
        """What it ran on; those of old do not say that it was processes."""
        described = self.manifest.get("provider")
        return str(described.get("name")) if isinstance(described, dict) else "local"

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.points[0].experiment.name


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Say of anything that the files of a folder cannot be that they are damaged.

    Raises:
        ResultsError: so it is.
    """
    try:
        yield
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        OverflowError,
    ) as error:
        told = f"{folder}: damaged ({type(error).__name__}: {error})"
        raise ResultsError(told) from error


def read_results(folder: Path) -> StoredResults:
    """Return the results in a folder.

    Raises:
        ResultsError: it holds none, or they are damaged.
    """
    with reading(folder):
        if not (folder / "manifest.json").exists():
            raise ResultsError(
                f"{folder}: no results of an experiment here (manifest.json is missing)"
            )
        manifest = _read_json(folder / "manifest.json")
        text = _read_text(folder / "experiment.toml")
        found = []
        for place, item in enumerate(parse_experiments(text, folder / "experiment.toml"), start=1):
            runs = [
                StoredRun(run, _read_json(run / "run.json"))
                for run in sorted((folder / "runs").glob(f"{place:03d}-*"))
                if (run / RECORDS).is_file()  # the last one to be written
            ]
            for run in runs:
                _ = run.figures, run.is_valid
            found.append(StoredPoint(item, tuple(runs)))
    return StoredResults(folder, manifest, tuple(found), text)


def _read_text(path: Path) -> str:
    try:
        return read_given(path, TEXT_BYTES_MAX).decode()
    except FormError as error:
        raise ValueError(str(error)) from error


def _read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file; `ValueError` if it holds none."""
    value = json.loads(_read_text(path))
    if not isinstance(value, dict):
        raise TypeError(f"{path.name} holds no object")
    return value
