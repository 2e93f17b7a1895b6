"""``lowu calibrate``: measure what work costs on this machine, for runs in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lowu.arguments import write_file
from lowu.cli import emit_json
from lowu.options import json_option, quote
from lowu.output import Progress, print_table

if TYPE_CHECKING:
    from lowu.node.simulation.costs import CostModel

CHECKED = ("per s", "sim", "p50, ms", "sim", "p99, ms", "sim", "blocks", "sim")


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("costs.json"),
    show_default=True, help="File for the cost model.",
)  # fmt: skip
@click.option(
    "--average-with", "earlier", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Costs measured before: write the mean of them and the new ones.",
)  # fmt: skip
@json_option
def calibrate(out: Path, earlier: Path | None, is_json: bool) -> None:
    """Measure what work costs on this machine; write it to a file.

    Six loads are offered to networks of processes, and the same in virtual time; the costs are
    those that explain best what the processes have spent. It takes about ten minutes, on a machine
    that has nothing else to do. Name the file as `costs` in an experiment, for runs with
    `provider = "sim"`.

    The speed of a shared machine changes. To hold runs on processes against virtual time,
    calibrate before them, and after them again with `--average-with`.
    """
    import json

    from lowu.measuring.calibration import measure_costs
    from lowu.node.simulation.costs import average_models

    before = None if earlier is None else _read_earlier(earlier)
    found = measure_costs(Progress(is_silent=is_json))
    model = found.model if before is None else average_models(before, found.model)
    text = json.dumps(model.to_json(), indent=1) + "\n"
    write_file(out, text.encode())
    figures = {
        "cores": model.cores,
        "hop_us": round(model.hop_s * 1e6),
        "cpu_miss": round(found.cpu_miss, 4),
    }
    if is_json:
        emit_json(True, figures, file=str(out), costs=model.to_json())
        return
    rows = [
        (
            work.value,
            f"{cost.base_s * 1e6:,.1f}",
            f"{cost.item_s * 1e6:,.4f}",
            f"{cost.wait_s * 1e6:,.0f}",
        )
        for work, cost in model.costs.items()
    ]
    print_table(f"Costs on {model.machine}, µs", ("work", "each", "an item of it", "wait"), rows)
    checks = [
        (
            check.told,
            *(
                f"{side[name]:,.0f}"
                for name in ("throughput_per_s", "p50_ms", "p99_ms", "blocks")
                for side in (check.measured, check.simulated)
            ),
        )
        for check in found.loads
    ]
    print_table("The loads, measured and simulated", ("load", *CHECKED), checks)
    click.echo(
        f"a process runs {model.hop_s * 1e6:,.0f} µs after something has come for it\n"
        f"on average, the model misses CPU times by {found.cpu_miss:.0%}\n"
        f"written: {out}\nnext: lowu experiment run FILE --provider sim --costs {quote(out)}"
    )


def _read_earlier(path: Path) -> CostModel:
    """Return costs to average with, before anything is measured."""
    from lowu.commands.experiment.providers import read_costs
    from lowu.measuring.calibration import count_cores

    model, cores = read_costs(path), count_cores()
    if model.cores != cores:
        told = f"{path}: costs for {model.cores} cores, and there are {cores} here"
        raise click.UsageError(f"{told}; calibrate both times on one machine")
    return model
