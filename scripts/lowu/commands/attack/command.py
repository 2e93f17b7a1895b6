"""``lowu attack``: measure what an observer or member learns from the chain.

The network is real, the anchors are read from a node, and nothing else of the documents is used.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
import trio

from lowu.cli import emit_json
from lowu.commands.attack.attack_exchange import build_commands
from lowu.options import Number, json_option, read_network
from lowu.output import Progress, print_table

if TYPE_CHECKING:
    from lowu.experiments.attacks.dictionary import Form, Found

NETWORK = "seed-7"


@click.group()
def attack() -> None:
    """Try an attack, and say what the attacker learns or gains."""


for _command in build_commands():
    attack.add_command(_command)


@attack.command()
@click.option(
    "--budget", type=Number(1, 3_600), default=60.0, show_default=True,
    help="Seconds for each profile.",
)  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the document.")
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=None,
    help="Worker processes.  [default: one per core]",
)
@json_option
def dictionary(budget: float, seed: int, processes: int | None, is_json: bool) -> None:
    """Guess the identity number in a form from the data on chain.

    The form has eight fields, of which seven are known. Profile file-plain must be cracked within
    the budget; the other profiles must not.
    """
    from lowu.experiments.attacks.dictionary import search
    from lowu.institutions.package.format import Profile

    progress = Progress(is_silent=is_json)
    cores = processes or os.cpu_count() or 1
    form = trio.run(_publish, seed, progress)
    found: dict[str, Found] = {}
    for profile in (Profile.FILE_PLAIN, Profile.FILE_BLIND, Profile.FIELDS):
        found[profile] = search(seed, [form.anchors[profile]], budget, cores)
        item = found[profile]
        progress(f"{profile}: {item.value or 'not found'}, {item.seconds:.1f} s")
    plain = found[Profile.FILE_PLAIN]
    is_ok = plain.value == form.number and not any(
        item.value for name, item in found.items() if name != Profile.FILE_PLAIN
    )
    if is_json:
        figures = {"budget_seconds": budget, "processes": cores}
        for text, item in found.items():
            name = text.replace("-", "_")
            figures[f"{name}_cracked"] = int(bool(item.value))
            figures[f"{name}_seconds"] = round(item.seconds, 3)
            figures[f"{name}_guesses"] = item.guesses
        emit_json(is_ok, figures)
    else:
        _print(found, form.number, budget)
    sys.exit(0 if is_ok else 1)


@attack.command()
@click.option(
    "--mutations", type=click.IntRange(10, 100_000_000), default=20_000, show_default=True,
    help="Changes to try: half on packages, half on presentations.",
)  # fmt: skip
@click.option(
    "--structural", type=click.IntRange(10, 100_000_000), default=None,
    help="Try so many changes of structure instead: swapped, left out, relabelled, signed again.",
)  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the changes.")
@click.option(
    "--jobs", type=click.IntRange(1, 256), default=None,
    help="Worker processes for --structural.  [default: one per core]",
)  # fmt: skip
@json_option
def mutate(
    mutations: int, structural: int | None, seed: int, jobs: int | None, is_json: bool
) -> None:
    """Change packages and presentations; none may be accepted.

    Changes of structure are judged a second time, by a reader that was written from docs/PACKAGE.md
    alone; no two verdicts may differ.
    """
    if structural is not None:
        from lowu.commands.attack.attack_exchange import run_structural

        run_structural(structural, seed, jobs or os.cpu_count() or 1, is_json=is_json)
    from random import Random

    from lowu.experiments.actors.actors import Actors
    from lowu.experiments.attacks.mutation import TRIALS, MutationOutcome, prepare
    from lowu.testing.network_faults import VirtualFaults
    from lowu.testing.networks import VirtualNetwork

    progress = Progress(is_silent=is_json)

    async def play(actors: Actors, faults: VirtualFaults) -> dict[str, MutationOutcome]:
        case = await prepare(actors)
        found: dict[str, MutationOutcome] = {}
        for name, trial in TRIALS.items():
            found[name] = await trial(case, mutations // 2, Random(f"{seed}/{name}"))  # noqa: S311
            progress(f"{name}: {found[name].tried} changes, {len(found[name].accepted)} accepted")
        return found

    started = time.monotonic()
    found = VirtualNetwork(NETWORK).play(play)
    seconds = time.monotonic() - started
    accepted = sum(len(item.accepted) for item in found.values())
    if is_json:
        figures = {
            "mutations": sum(item.tried for item in found.values()),
            "accepted": accepted,
            "seconds": round(seconds, 3),
        }
        refused = {name: dict(item.refused.most_common()) for name, item in found.items()}
        holes = {name: item.accepted[:20] for name, item in found.items()}
        emit_json(not accepted, figures, refused=refused, holes=holes)
    else:
        rows = [
            (name, why, count)
            for name, item in found.items()
            for why, count in item.refused.most_common()
        ]
        print_table("Refused changes", ("input", "refused as", "changes"), rows)
        click.echo(f"{accepted} changes accepted, {seconds:.0f} s")
    sys.exit(1 if accepted else 0)


@attack.command()
@click.option("--network", default="dev-4", show_default=True, help="A bundled network, or a file.")
@click.option(
    "--minutes", type=Number(0.1, 10_000), default=5.0, show_default=True,
    help="Duration in minutes.",
)  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of their actions.")
@json_option
def strangers(network: str, minutes: float, seed: int, is_json: bool) -> None:
    """Let strangers deploy and call random contracts.

    No node may stop or disagree with the others.
    """
    from lowu.commands.attack.attack_strangers import run_strangers

    run_strangers(network, minutes, seed, is_json=is_json)


@attack.command()
@click.option(
    "--documents", type=click.IntRange(2, 1_000), default=40, show_default=True,
    help="Number of documents, each anchored for two receivers.",
)  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the order.")
@json_option
def linkability(documents: int, seed: int, is_json: bool) -> None:
    """Guess which anchors belong to the same document.

    Guesses by the anchors' bytes must be no better than chance. Guesses by time are better if both
    anchors are registered at once.
    """
    from random import Random

    from lowu.experiments.actors.actors import Actors
    from lowu.experiments.attacks.linkability import Linked, measure
    from lowu.testing.network_faults import VirtualFaults
    from lowu.testing.networks import VirtualNetwork

    async def play(actors: Actors, faults: VirtualFaults) -> dict[str, Linked]:
        random = Random(seed)  # noqa: S311
        return {
            "at once": await measure(actors, documents, random, is_at_once=True),
            "later": await measure(actors, documents, random, is_at_once=False),
        }

    found = VirtualNetwork(NETWORK).play(play)
    # Chance plus six standard deviations (right guesses come in pairs), and below one guess.
    bound = max(item.chance + 6 * (item.chance / (2 * documents)) ** 0.5 for item in found.values())
    is_ok = all(item.by_bytes <= bound + 1 / (2 * documents) for item in found.values())
    if is_json:
        figures: dict[str, float] = {"documents": documents}
        for name, item in found.items():
            key = name.replace(" ", "_")
            figures[f"{key}_by_bytes"] = round(item.by_bytes, 4)
            figures[f"{key}_by_time"] = round(item.by_time, 4)
            figures["chance"] = round(item.chance, 4)
        emit_json(is_ok, figures)
    else:
        rows = [
            (name, f"{item.by_bytes:.1%}", f"{item.by_time:.1%}", f"{item.chance:.1%}")
            for name, item in found.items()
        ]
        columns = ("second anchor", "right by bytes", "right by time", "chance")
        print_table(f"{documents} documents, two receivers each", columns, rows)
    sys.exit(0 if is_ok else 1)


async def _publish(seed: int, progress: Progress) -> Form:
    """Issue one form under each profile on a temporary network."""
    from lowu.experiments.actors.actors import open_actors
    from lowu.experiments.attacks.dictionary import publish
    from lowu.node.topology.network import bring_up
    from lowu.temporary import temporary_network_folder

    with temporary_network_folder("attack") as folder:
        up = await bring_up(folder, *read_network(NETWORK), progress)
        async with open_actors(up.plan, lambda: int(time.time())) as actors:
            return await publish(actors, seed)


def _print(found: dict[str, Found], number: str, budget: float) -> None:
    rows: list[tuple[Any, ...]] = [
        (
            profile,
            "cracked" if item.value else "not found",
            item.value or "-",
            f"{item.guesses:,}",
            f"{item.seconds:.1f}",
        )
        for profile, item in found.items()
    ]
    print_table(
        f"An eight-field form about {number}, seven fields known; {budget:.0f} s per profile",
        ("profile", "result", "number", "guesses", "seconds"),
        rows,
    )


@attack.command()
@json_option
def squat(is_json: bool) -> None:
    """Register an issuer's anchor before the issuer (scenario X4).

    On the registry the issuer's record is unharmed; on an older kind of contract the evidence is
    the attacker's.
    """
    from lowu.commands.scenarios import play_named

    play_named("X4", is_json=is_json)


@attack.command()
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of hashes and keys.")
@json_option
def legacy(seed: int, is_json: bool) -> None:
    """Run the same attacks on the registry and an older contract.

    The older contract keeps evidence as WeIdentity does. Exits 0 if every attack succeeds there and
    fails on the registry.
    """
    from random import Random

    from lowu.experiments.actors.actors import Actors
    from lowu.experiments.attacks.legacy import Comparison, compare
    from lowu.testing.network_faults import VirtualFaults
    from lowu.testing.networks import VirtualNetwork

    async def play(actors: Actors, faults: VirtualFaults) -> list[Comparison]:
        return await compare(actors, Random(seed))  # noqa: S311

    found = VirtualNetwork(NETWORK).play(play)
    is_ok = all(item.is_as_expected for item in found)
    if is_json:
        figures = {"acts": len(found), "as_expected": sum(item.is_as_expected for item in found)}
        emit_json(is_ok, figures, acts=[asdict(item) for item in found])
    else:
        rows = [
            ("✓" if item.is_as_expected else "✗", item.act, item.legacy, item.registry)
            for item in found
        ]
        print_table("The same acts on both", ("", "act", "older contract", "registry"), rows)
    sys.exit(0 if is_ok else 1)


@attack.command()
@json_option
def replay(is_json: bool) -> None:
    """Forward a presentation, and send it twice (scenario E8).

    It is also sent to two branches at once.
    """
    from lowu.commands.scenarios import play_named

    play_named("E8", is_json=is_json)


@attack.command()
@json_option
def splitview(is_json: bool) -> None:
    """Have a receiver's own node lie about a report (scenario X3).

    The report was withdrawn. Asked alone, that node deceives the receiver; also asking a node of
    the other side exposes it.
    """
    from lowu.commands.scenarios import play_named

    play_named("X3", is_json=is_json)
