"""Many cells of the crash matrix, on one network after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeAlias

import trio

from lowu.experiments.crashes.cells import Cell, Occasion
from lowu.experiments.crashes.consortium import NETWORK_SETTINGS, Consortium, open_processes
from lowu.experiments.crashes.matrix import PlayedCell, play_cell, play_first_start
from lowu.node.topology.changes import set_values

Open: TypeAlias = Callable[[Mapping[str, str]], AbstractAsyncContextManager[Consortium]]
"""Opens a new network; takes the orders for nodes' first starts, by name."""

CELLS_A_NETWORK = 64
"""How many cells one network serves."""


def prepare_text(text: str) -> str:
    """Return a network file's text with what the matrix needs of a network."""
    return set_values(text, [f"{key}={value}" for key, value in NETWORK_SETTINGS.items()])


def play_on_processes(
    text: str, folder: Path, cells: Sequence[Cell], note: Callable[[PlayedCell], None]
) -> None:
    """Play cells on networks of processes, each in a folder of its own; `note` hears of each."""
    count = 0

    def open_network(fails: Mapping[str, str]) -> AbstractAsyncContextManager[Consortium]:
        nonlocal count
        count += 1
        return open_processes(prepare_text(text), folder / f"{count:03d}", fails)

    trio.run(play_cells, open_network, cells, note)


async def play_cells(
    open_network: Open, cells: Sequence[Cell], note: Callable[[PlayedCell], None]
) -> None:
    """Play cells on networks that are opened for them; `note` hears of each."""
    waiting = [cell for cell in cells if cell.occasion is not Occasion.FIRST_START]
    # A node without its database executes the whole chain: those go first, while it is short.
    waiting.sort(key=lambda cell: cell.occasion is not Occasion.DAMAGED)
    number = 0
    while waiting:
        async with open_network({}) as consortium:
            for _ in range(min(len(waiting), CELLS_A_NETWORK)):
                played = await play_cell(consortium, waiting.pop(0), number)
                number += 1
                note(played)
                if played.problems:
                    break  # what follows would be of this one's making
    for cell in cells:
        if cell.occasion is Occasion.FIRST_START:
            await _play_first_start(open_network, cell, number, note)
            number += 1


async def _play_first_start(
    open_network: Open, cell: Cell, number: int, note: Callable[[PlayedCell], None]
) -> None:
    victim = f"node{number % 4}"
    async with open_network({victim: str(cell.order)}) as consortium:
        (node,) = (item for item in consortium.plan.nodes if item.name == victim)
        note(await play_first_start(consortium, cell, node))
