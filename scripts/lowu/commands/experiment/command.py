"""``lowu experiment``: load experiments from files, run on fresh networks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lowu.arguments import write_file
from lowu.cli import emit_json
from lowu.options import Number, json_option, quote, read_or_saved
from lowu.output import print_table, say

if TYPE_CHECKING:
    from lowu.experiments.load.planned.experiment_file import Experiment
    from lowu.node.topology.plan import Plan

F = TypeVar("F", bound=Callable[..., Any])
BEGIN = """\
# What is measured, and what is expected of it. `lowu experiment validate` checks this file.

[experiment]
name = "first"
network = "load-4"      # bundled (`lowu experiment list` names experiments that come with Lowu),
                        # or the path of a network file
repetitions = 3         # runs, each on a fresh network
seed = 1

[load]
workload = "register"   # registrations of anchors, by every issuer
arrival = { kind = "poisson", rate = 200 }
warm_up_s = 5
duration_s = 30
deadline_s = 20         # what is not committed by then has timed out

# [[link]]              # between all nodes of two sides, or within one
# between = ["SZ", "HK"]
# delay_ms = 20
# jitter_ms = 2

# [[fault]]             # or pause, slow (with delay_ms) and cut, each with for_s
# at_s = 15
# kill = "leader"
# restart_after_s = 5

# [sweep]
# "load.arrival.rate" = [100, 200, 400]

[expect]
p99_ms = "<= 1000"
uncommitted = 0
"""


def out_option(function: F) -> F:
    """Add ``--out``."""
    return click.option(
        "--out", type=click.Path(path_type=Path, file_okay=False), default=None,
        help="New folder for the results.  [default: results/NAME-TIME]",
    )(function)  # fmt: skip


def provider_options(function: F) -> F:
    """Add ``--provider`` and ``--costs``."""
    costs = click.option(
        "--costs", type=click.Path(path_type=Path, dir_okay=False, exists=True), default=None,
        help="Cost model for virtual time, from `lowu calibrate`.  [default: the bundled one]",
    )  # fmt: skip
    provider = click.option(
        "--provider", type=click.Choice(["local", "sim"]), default=None,
        help="Processes, or virtual time.  [default: the file's, else local]",
    )  # fmt: skip
    return provider(costs(function))


@click.group()
def experiment() -> None:
    """Measure networks under load, from files that say what is offered and what fails."""


def find_experiments(name_or_path: str) -> tuple[tuple[Experiment, ...], str, Path]:
    """Return the experiments of a file given by bundled name or by path, with its text and path."""
    from lowu.experiments.load.planned.experiment_file import parse_experiments
    from lowu.node.topology.toml_reader import read_toml

    bundled = experiments_folder() / f"{name_or_path}.toml"
    path = bundled if bundled.is_file() else Path(name_or_path)
    if not path.is_file():
        names = ", ".join(sorted(item.stem for item in experiments_folder().glob("*.toml")))
        raise click.UsageError(
            f"experiment {name_or_path!r} is neither bundled ({names}) nor a file; "
            "`lowu experiment init` begins one"
        )
    text = read_toml(path)
    return parse_experiments(text, path), text, path


def experiments_folder() -> Path:
    """Return the folder of the experiments that come with Lowu."""
    from importlib import resources

    installed = Path(str(resources.files("lowu"))) / "ready_experiments"
    if installed.is_dir():
        return installed
    return Path(__file__).resolve().parents[4] / "configs" / "experiments"


def check_experiments(experiments: tuple[Experiment, ...], path: Path) -> list[Plan]:
    """Return the plan of each experiment's network; `UsageError` if one cannot be run."""
    from lowu.contracts.named import UnknownName
    from lowu.experiments.load.offered.generator import split_plan
    from lowu.experiments.load.planned.arrivals import ArrivalMistake
    from lowu.experiments.load.run import check, plan_generator
    from lowu.node.errors import ConfigError

    plans = []
    for item in experiments:
        try:
            plan = check(item, *read_or_saved(item.network))
            split_plan(plan_generator(item, plan, item.seed), item.load.generators)
        except (ConfigError, UnknownName, ArrivalMistake, ValueError) as error:
            where = f" with {_tell_point(item)}" if item.point else ""
            told = str(error).replace("--set ", "[network] ", 1)
            raise click.UsageError(f"{path}{where}: {told}") from error
        plans.append(plan)
    return plans


@experiment.command("list")
@json_option
def list_experiments(is_json: bool) -> None:
    """List the experiments that come with Lowu."""
    rows = []
    for path in sorted(experiments_folder().glob("*.toml")):
        found, text, _ = find_experiments(path.stem)
        rows.append((path.stem, found[0].network, len(found) * found[0].repetitions, _title(text)))
    if is_json:
        emit_json(True, {"experiments": len(rows)}, experiments={row[0]: row[3] for row in rows})
        return
    print_table("Experiments", ("name", "network", "runs", "what it asks"), rows)


@experiment.command()
@click.argument("name")
def show(name: str) -> None:
    """Print the file of an experiment that comes with Lowu, to begin one of your own with."""
    say(find_experiments(name)[1].rstrip("\n"), is_json=False)


@experiment.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default="experiment.toml")
@json_option
def init(file: Path, is_json: bool) -> None:
    """Write an experiment file to begin with."""
    if file.exists():
        raise click.UsageError(f"{file} is there already; name another file, or remove it")
    write_file(file, BEGIN.encode())
    say(
        f"{file} is written\nnext: lowu experiment run {quote(file)}",
        is_json=is_json,
        file=str(file),
    )


@experiment.command()
def schema() -> None:
    """Print a JSON Schema of experiment files, for editors that complete and check TOML.

    Save it beside a file whose first line is `#:schema experiment.schema.json`.
    """
    import json

    from lowu.commands.experiment.editor_schema import build_editor_schema

    say(json.dumps(build_editor_schema(), indent=1), is_json=False)


@experiment.command()
@click.argument("file")
@json_option
def validate(file: str, is_json: bool) -> None:
    """Check an experiment FILE, and say what running it would take."""
    from lowu.experiments.load.fault_driver import plan_faults, tell_drawn

    found, _, path = find_experiments(file)
    plans = check_experiments(found, path)
    runs = sum(item.repetitions for item in found)
    seconds = sum(item.repetitions * (item.load.offered_s + 10) for item in found)
    is_open = all(item.load.arrivals.is_open for item in found)
    due = sum(
        item.repetitions * sum(1 for _ in item.load.arrivals.draw(item.load.offered_s, item.seed))
        for item in found
        if item.load.arrivals.is_open
    )
    told = (
        f"{due:,} transactions, those of the warm-up among them"
        if is_open
        else "as many transactions as the clients manage"
    )
    figures: dict[str, float] = {"points": len(found), "runs": runs, "seconds": round(seconds)}
    if is_open:
        figures["transactions"] = due
    if is_json:
        emit_json(True, figures, name=found[0].name)
        return
    first = found[0]
    click.echo(
        f"{first.name}: {runs} run{'s' if runs > 1 else ''} on {first.network} "
        f"({len(plans[0].nodes)} nodes), about {_tell_time(seconds)} and {told}"
    )
    if drawn := tell_drawn(first, plan_faults(first, plans[0], first.seed)):
        click.echo(f"faults of the first run, {drawn}")


def _tell_time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


@experiment.command()
@click.argument("file")
@out_option
@provider_options
@click.option(
    "--target", "targets", multiple=True, metavar="URL",
    help="JSON-RPC endpoint of a system that is there already, instead of a fresh network; may be "
    "given several times.",
)  # fmt: skip
@click.option(
    "--funder", type=click.Path(path_type=Path, dir_okay=False, exists=True), default=None,
    help="File with the private key, in hex, of an account that pays for a target's gas.",
)  # fmt: skip
@json_option
def run(
    file: str, out: Path | None, provider: str | None, costs: Path | None,
    targets: tuple[str, ...], funder: Path | None, is_json: bool,
) -> None:  # fmt: skip
    """Run an experiment FILE; write what was found to a folder, and print a summary.

    Exits with 1 if a run is not valid, or not as expected. Ctrl-C ends it; what was found is kept.
    """
    from lowu.commands.experiment.live_view import choose_view
    from lowu.commands.experiment.providers import choose_provider, choose_target
    from lowu.commands.experiment.running import run_experiments

    found, text, path = find_experiments(file)
    check_experiments(found, path)
    if targets:
        chosen = choose_target(found, targets, funder)
    else:
        chosen = choose_provider(found[0], provider, costs)
    view = choose_view(is_silent=is_json)
    is_ok = run_experiments(found, text, path, out, view, chosen, is_json=is_json)
    sys.exit(0 if is_ok else 1)


@experiment.command()
@click.argument("file")
@click.option(
    "--p99-ms", type=Number(1, 1e6), default=1_000.0, show_default=True,
    help="A rate is sustained if the p99 stays below this.",
)  # fmt: skip
@click.option(
    "--from", "start", type=Number(1, 1e6), default=50.0, show_default=True,
    help="First rate, in transactions per second.",
)  # fmt: skip
@click.option(
    "--to", "highest", type=Number(1, 1e6), default=10_000.0, show_default=True,
    help="Highest rate that is played.",
)  # fmt: skip
@out_option
@provider_options
@json_option
def saturate(
    file: str, p99_ms: float, start: float, highest: float, out: Path | None,
    provider: str | None, costs: Path | None, is_json: bool,
) -> None:  # fmt: skip
    """Find the highest rate that the network of FILE sustains, with its load and faults.

    A ramp doubles the rate until it is not sustained; a bisection follows, to within 10 %; the rate
    that is found is played three times more. Each run has a fresh network.
    """
    from lowu.commands.experiment.live_view import choose_view
    from lowu.commands.experiment.providers import choose_provider
    from lowu.commands.experiment.saturating import run_saturation

    found, text, path = find_experiments(file)
    check_experiments(found, path)
    view = choose_view(is_silent=is_json)
    chosen = choose_provider(found[0], provider, costs)
    is_ok = run_saturation(
        found, text, path, out, view, chosen, p99_ms=p99_ms, start=start, highest=highest,
        is_json=is_json,
    )  # fmt: skip
    sys.exit(0 if is_ok else 1)


@experiment.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@json_option
def report(folder: Path, is_json: bool) -> None:
    """Write report.html from the results in FOLDER again."""
    from lowu.commands.experiment.storing import write_report

    page = write_report(folder)
    say(f"report: {page}", is_json=is_json, file=str(page))


@experiment.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--form", "forms", multiple=True, default=("hgrm", "latex", "summary"), show_default=True,
    type=click.Choice(["hgrm", "latex", "summary", "svg", "pdf", "parquet"]),
    help="What to write; may be given several times.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=None,
    help="New folder for the files.  [default: export, in FOLDER]",
)  # fmt: skip
@json_option
def export(folder: Path, forms: tuple[str, ...], out: Path | None, is_json: bool) -> None:
    """Write the results in FOLDER for other programs.

    hgrm is HdrHistogram's form, latex a table, svg and pdf the report's plots (with
    'lowu[plots]'), parquet a row for each transaction (with 'lowu[analysis]').
    """
    from lowu.commands.experiment.exporting import export_results

    files = export_results(folder, out or folder / "export", forms)
    say(
        "\n".join(map(str, files)),
        is_json=is_json,
        files=[str(item) for item in files],
    )


@experiment.command()
@click.argument("first", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.argument("second", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--threshold", type=Number(0, 1_000), default=5.0, show_default=True,
    help="Smallest change that matters, in per cent.",
)  # fmt: skip
@json_option
def compare(first: Path, second: Path, threshold: float, is_json: bool) -> None:
    """Say whether the results in SECOND differ from those in FIRST, point by point.

    Runs are compared, by a bootstrap interval of 95 %; three valid ones on each side are needed.
    """
    from lowu.commands.experiment.comparing import compare_results

    compare_results(first, second, threshold / 100, is_json=is_json)


@experiment.command()
@click.argument(
    "folders", type=click.Path(path_type=Path, file_okay=False, exists=True), nargs=-1,
    required=True,
)  # fmt: skip
@click.option(
    "--figure", "figures", multiple=True, metavar="NAME",
    default=("throughput_per_s", "p50_ms", "p99_ms"), show_default=True,
    help="The figure to look at; may be given several times.",
)  # fmt: skip
@click.option(
    "--threshold", type=Number(0, 1_000), default=5.0, show_default=True,
    help="Smallest change that matters, in per cent.",
)  # fmt: skip
@json_option
def history(
    folders: tuple[Path, ...], figures: tuple[str, ...], threshold: float, is_json: bool
) -> None:
    """Say where the figures of experiments changed, over all results in FOLDERS.

    Each result is one value, the median of its valid runs, in order of time; in virtual time, in
    order of the folders' names. Changes are found by E-divisive, at a p-value of 0.01.
    """
    from lowu.commands.experiment.telling_history import tell_history

    tell_history(folders, figures, threshold / 100, is_json=is_json)


@experiment.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@out_option
@json_option
def rerun(folder: Path, out: Path | None, is_json: bool) -> None:
    """Run the experiment in FOLDER again, with the same file and seeds."""
    from lowu.commands.experiment.live_view import choose_view
    from lowu.commands.experiment.providers import restore_provider
    from lowu.commands.experiment.running import run_experiments
    from lowu.experiments.load.reported.results import read_results

    stored = read_results(folder)
    found = tuple(point.experiment for point in stored.points)
    path = folder / "experiment.toml"
    check_experiments(found, path)
    view = choose_view(is_silent=is_json)
    provider = restore_provider(stored.manifest.get("provider"))
    name = Path(str(stored.manifest.get("file", path)))
    is_ok = run_experiments(found, stored.text, name, out, view, provider, is_json=is_json)
    if not is_json:
        new = "FOLDER" if out is None else quote(out)
        click.echo(f"next: lowu experiment compare {quote(folder)} {new}")
    sys.exit(0 if is_ok else 1)


def _title(text: str) -> str:
    """Return the first comment of a file."""
    first = text.splitlines()[0] if text else ""
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def _tell_point(item: Experiment) -> str:
    return ", ".join(f"{key} = {value}" for key, value in item.point.items())
