"""The folder of an experiment's results, as it is written."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from lowu.commands.experiment.providers import Provider
from lowu.experiments.load.observed import write_phases, write_samples
from lowu.experiments.load.planned.experiment_file import Experiment
from lowu.experiments.load.reported.report_page import render_report
from lowu.experiments.load.reported.results import read_results
from lowu.experiments.load.run import LoadRun, describe_run
from lowu.measuring.bench_report import describe_machine, find_commit
from lowu.node.topology.upkeep.archive import is_archive
from lowu.node.version import CLIENT_VERSION
from lowu.options import read_network


def make_folder(item: Experiment, out: Path | None) -> Path:
    """Make the new folder for results; `UsageError` if it is there, or cannot be made."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    folder = Path("results") / f"{item.name.replace(' ', '-')}-{stamp}" if out is None else out
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise click.UsageError(
            f"{folder} is there already; name a new folder with --out"
        ) from error
    except OSError as error:
        raise click.UsageError(f"{folder}: cannot be made ({error.strerror})") from error
    return folder


def _digest_network(name: str) -> str:
    """Return the digest of a network file, or of all of a saved network."""
    path = Path(name)
    if not is_archive(path):
        return hashlib.sha256(read_network(name)[0].encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(
    folder: Path,
    text: str,
    path: Path,
    experiments: Sequence[Experiment],
    provider: Provider,
    **more: Any,
) -> dict[str, Any]:
    """Write the experiment's files and what a repetition needs to know; return the latter.

    Of a run in virtual time, that is nothing of the day or of this machine.
    """
    _write(folder / "experiment.toml", text)
    files = {name: path.parent / name for item in experiments for name in item.files}
    for name, source in files.items():
        with _told(folder / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)
    manifest = {
        "lowu": CLIENT_VERSION,
        "commit": find_commit(),
        "file": path.name,
        "file_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "networks_sha256": {
            name: _digest_network(name)
            for name in dict.fromkeys(item.network for item in experiments)
        },
        "files_sha256": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files
        },
        "seeds": [item.seed for item in experiments],
        "provider": provider.describe(),
        **more,
    }
    if not provider.is_virtual:
        manifest |= {
            "begun": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": sys.argv[1:],
            "platform": describe_machine(),
        }
    write_json(folder / "manifest.json", manifest)
    return manifest


def write_run(folder: Path, result: LoadRun) -> None:
    """Write a run's figures first, then its blocks, phases and records, which may be large."""
    with _told(folder):
        folder.mkdir(parents=True)
    write_json(folder / "run.json", describe_run(result))
    lines = ["height,at_s,transactions"]
    lines += [f"{item.height},{item.at_s:.6f},{item.transactions}" for item in result.blocks]
    _write(folder / "blocks.csv", "\n".join(lines) + "\n")
    with _told(folder / "samples.csv"):
        write_samples(folder / "samples.csv", result.observed.samples)
        write_phases(folder / "phases.csv", result.observed.phases)
    with _told(folder / "records.csv"):
        result.records.write(folder / "records.csv")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON value, with its keys in order."""
    text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True)
    _write(path, text + "\n")


def _write(path: Path, text: str) -> None:
    with _told(path):
        path.write_text(text, encoding="utf-8")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say which file could not be written, and why."""
    try:
        yield
    except OSError as error:
        raise click.ClickException(f"{path}: cannot be written ({error.strerror})") from error


def write_report(folder: Path) -> Path:
    """Write the report on the results in a folder beside them; return its path."""
    page = folder / "report.html"
    _write(page, render_report(read_results(folder)))
    return page
