"""``lowu bench``: the commands and their options; each measures in its own module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lowu.options import DEFAULT_NETWORK, Number, json_option


@click.group()
def bench() -> None:
    """Measure Lowu on this machine; where possible, compare it with other systems in one run."""


@bench.command()
@click.option(
    "--rounds", type=click.IntRange(3, 100), default=7, show_default=True, help="Paired rounds."
)
@click.option("--only", default="", help="Only these cases, such as register_anchor,hashing.")
@json_option
def evm(rounds: int, only: str, is_json: bool) -> None:
    """Compare the compiled EVM with py-evm, contract by contract."""
    from lowu.commands.bench.evm import run_bench_evm

    run_bench_evm(rounds, only, is_json=is_json)


@bench.command()
@json_option
def gas(is_json: bool) -> None:
    """Measure CPU time per gas of costly opcodes and precompiles."""
    from lowu.commands.bench.gas import run_bench_gas

    run_bench_gas(is_json=is_json)


def rounds_option(default: int) -> Callable[[Any], Any]:
    """Add ``--rounds``."""
    return click.option(
        "--rounds",
        type=click.IntRange(1, 100),
        default=default,
        show_default=True,
        help="Number of independent runs.",
    )


def registrations_option(
    default: int, text: str = "Registrations in each run."
) -> Callable[[Any], Any]:
    """Add ``--registrations``."""
    return click.option(
        "--registrations",
        type=click.IntRange(100, 1_000_000),
        default=default,
        show_default=True,
        help=text,
    )


plot_option = click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw a plot into this file (.png, .svg, .pdf).",
)


@bench.command()
@click.option("--nodes", type=click.IntRange(1, 31), default=4, show_default=True)
@click.option(
    "--against", default="anvil,eth-tester", show_default=True, help="Systems to compare with."
)
@rounds_option(5)
@registrations_option(8_000)
@click.option(
    "--batch",
    type=click.IntRange(1, 1_000),
    default=1,
    show_default=True,
    help="Registrations in one request.",
)
@plot_option
@json_option
def throughput(
    nodes: int,
    against: str,
    rounds: int,
    registrations: int,
    batch: int,
    plot: Path | None,
    is_json: bool,
) -> None:
    """Compare registrations per second with anvil and eth-tester.

    On Lowu, a registration counts once it is committed on all nodes.
    """
    from lowu.commands.bench.throughput import run_throughput

    run_throughput(nodes, against, rounds, registrations, batch, plot, is_json=is_json)


@bench.command()
@click.option("--nodes", type=click.IntRange(1, 31), default=4, show_default=True)
@rounds_option(3)
@click.option(
    "--idle",
    type=click.IntRange(10, 100_000),
    default=500,
    show_default=True,
    help="Registrations sent one at a time.",
)
@click.option(
    "--seconds",
    type=Number(1, 600),
    default=20.0,
    show_default=True,
    help="Seconds at half of the highest rate.",
)
@registrations_option(6_000, "Registrations sent at once in each run, to find the highest rate.")
@plot_option
@json_option
def latency(
    nodes: int,
    rounds: int,
    idle: int,
    seconds: float,
    registrations: int,
    plot: Path | None,
    is_json: bool,
) -> None:
    """Time registrations until their receipts.

    They are sent one at a time, then at half of the saturation rate.
    """
    from lowu.commands.bench.latency import run_latency

    run_latency(nodes, rounds, idle, seconds, registrations, plot, is_json=is_json)


@bench.command()
@click.option("--nodes", default="4,7,10,13,16", show_default=True, help="Network sizes.")
@rounds_option(3)
@registrations_option(4_000)
@click.option(
    "--block",
    type=click.IntRange(1, 10_000),
    default=1_000,
    show_default=True,
    help="Maximum transactions in a block.",
)
@plot_option
@json_option
def scale(
    nodes: str, rounds: int, registrations: int, block: int, plot: Path | None, is_json: bool
) -> None:
    """Measure throughput, latency and CPU time by network size."""
    from lowu.commands.bench.scale import run_scale

    run_scale(nodes, rounds, registrations, block, plot, is_json=is_json)


@bench.command()
@click.option("--against", default="anvil", show_default=True, help="Systems to compare with.")
@rounds_option(5)
@click.option(
    "--verifications",
    type=click.IntRange(100, 1_000_000),
    default=4_000,
    show_default=True,
    help="Verifications in each run.",
)
@plot_option
@json_option
def read(against: str, rounds: int, verifications: int, plot: Path | None, is_json: bool) -> None:
    """Compare verifications per second with anvil.

    They are sent one per request, then in batches.
    """
    from lowu.commands.bench.read import run_read

    run_read(against, rounds, verifications, plot, is_json=is_json)


@bench.command()
@click.option(
    "--records",
    default="1000,10000,50000",
    show_default=True,
    help="Numbers of records at which to measure.",
)
@rounds_option(3)
@plot_option
@json_option
def state(records: str, rounds: int, plot: Path | None, is_json: bool) -> None:
    """Measure costs of registering and verifying by record count."""
    from lowu.commands.bench.state import run_state

    run_state(records, rounds, plot, is_json=is_json)


@bench.command()
@click.option(
    "--blocks",
    type=click.IntRange(1, 50),
    default=10,
    show_default=True,
    help="Blocks of 200 registrations in each run.",
)
@rounds_option(5)
@json_option
def path(blocks: int, rounds: int, is_json: bool) -> None:
    """Time a replica's steps for a registration, in one process."""
    from lowu.commands.bench.path import run_path

    run_path(blocks, rounds, is_json=is_json)


@bench.command()
@click.option("--nodes", type=click.IntRange(4, 31), default=4, show_default=True)
@registrations_option(5_000)
@rounds_option(3)
@click.option(
    "--behind",
    type=click.IntRange(100, 1_000_000),
    help="Blocks of one registration that the node misses; it catches up while others commit more.",
)
@click.option(
    "--share",
    type=click.FloatRange(0.05, 0.9),
    default=0.3,
    show_default=True,
    help="With --behind: the load meanwhile, as a share of the most that the network commits.",
)
@click.option(
    "--lengths",
    metavar="BLOCKS,…",
    help="Time a node with an empty disk on chains of these lengths, by a state and by blocks.",
)
@plot_option
@json_option
def sync(
    nodes: int,
    registrations: int,
    rounds: int,
    behind: int | None,
    share: float,
    lengths: str | None,
    plot: Path | None,
    is_json: bool,
) -> None:
    """Measure how fast a node catches up with what it missed."""
    from lowu.commands.bench.newcomer import run_newcomers
    from lowu.commands.bench.sync import run_sync, run_sync_under_load

    if lengths is not None:
        run_newcomers(nodes, lengths, rounds, plot, is_json=is_json)
    elif behind is None:
        run_sync(nodes, registrations, rounds, plot, is_json=is_json)
    else:
        run_sync_under_load(nodes, behind, share, rounds, is_json=is_json)


@bench.command()
@click.argument("network", default=DEFAULT_NETWORK)
@rounds_option(5)
@plot_option
@json_option
def start(network: str, rounds: int, plot: Path | None, is_json: bool) -> None:
    """Time `lowu up NETWORK` until the first committed block."""
    from lowu.commands.bench.start import run_start

    run_start(network, rounds, plot, is_json=is_json)


@bench.command()
@click.argument("network", default=DEFAULT_NETWORK)
@rounds_option(5)
@plot_option
@json_option
def memory(network: str, rounds: int, plot: Path | None, is_json: bool) -> None:
    """Measure every node's memory (PSS) after NETWORK has started."""
    from lowu.commands.bench.start import run_memory

    run_memory(network, rounds, plot, is_json=is_json)


@bench.command()
@click.option(
    "--programs",
    type=click.IntRange(0),
    default=2_000,
    show_default=True,
    help="Number of random programs.",
)
@click.option(
    "--contracts",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of npm contract artifacts to call at random.",
)
@click.option(
    "--calls",
    type=click.IntRange(0),
    default=2_000,
    show_default=True,
    help="Number of calls to those contracts.",
)
@click.option("--first-seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--mutants", is_flag=True, help="Put known faults into the compiler and find each.")
@click.option(
    "--jobs", type=click.IntRange(0, 1024), default=0, help="Worker processes; 0 for one per core."
)
@json_option
def differential(**options: Any) -> None:
    """Compare both EVM engines on random programs.

    With --contracts, also on random calls of real contracts.
    """
    asked = click.get_current_context().get_parameter_source("calls")
    is_asked = asked is click.core.ParameterSource.COMMANDLINE and options["calls"] > 0
    if is_asked and options["contracts"] is None:
        raise click.UsageError("--calls needs --contracts, the folder of the contracts to call")
    from lowu.commands.bench.differential import run_differential, run_mutants

    (run_mutants if options.pop("mutants") else run_differential)(options)
