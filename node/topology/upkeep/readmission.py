"""Letting validators vote again that have lost their votes, where nothing else ends a standstill.

A validator that has lost its votes abstains until the chain has outgrown what it may have signed
(R-WIPE-1). If so many have lost them that no quorum is left, the chain stands for good: nobody can
know what they signed. People may decide to go on all the same. What they risk is told, and what
can be checked is: all validators answer, those that vote have one head, and no quorum is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowu.node.errors import ConfigError
from lowu.node.ledger.first_start import TEXT, marker_path
from lowu.node.ledger.vote_trace import NAME as TRACE
from lowu.node.topology.plan import Plan, PlannedNode
from lowu.node.topology.tree import node_folder

RISK = (
    "What these validators signed before is unknown. If one of them signed a block that another "
    "node still counts as decided, two blocks may be decided at one height."
)
KEPT = "before-readmission"


def choose(plan: Plan, statuses: Mapping[str, Mapping[str, Any]]) -> list[PlannedNode]:
    """Return the validators to be readmitted: all that abstain.

    Args:
        plan: the network.
        statuses: by name, what each running node says of itself.

    Raises:
        ConfigError: it is not needed, or not everything that can be known is known.
    """
    weights, quorum = _read_votes(plan, statuses)
    validators = [node for node in plan.nodes if node.key.node_id.hex() in weights]
    silent = [node.name for node in validators if node.name not in statuses]
    if silent:
        raise ConfigError(
            f"{', '.join(silent)}: no answer. All validators must run, so that nothing is decided "
            "behind their backs: start them, or repair them first"
        )
    abstaining = [node for node in validators if statuses[node.name]["is_abstaining"]]
    voting = [node for node in validators if node not in abstaining]
    if not abstaining:
        raise ConfigError("no validator abstains: there is nobody to readmit")
    weight = sum(weights[node.key.node_id.hex()] for node in voting)
    if weight >= quorum:
        raise ConfigError(
            f"those that vote have weight {weight} of {quorum} needed: the chain goes on, and "
            f"{', '.join(node.name for node in abstaining)} will vote again without help"
        )
    heads = {(statuses[node.name]["height"], statuses[node.name]["hash"]) for node in voting}
    if len(heads) > 1:
        raise ConfigError(
            "the validators that vote do not have one head yet; wait until they do, with "
            "`lowu status`"
        )
    return abstaining


def _read_votes(
    plan: Plan, statuses: Mapping[str, Mapping[str, Any]]
) -> tuple[Mapping[str, int], int]:
    """Return the weights by node id, and the quorum, of the highest block; else of block 0."""
    highest = max(statuses.values(), key=lambda item: int(item["height"]), default=None)
    if highest is None:
        return dict(plan.genesis.sealers), plan.genesis.validators.quorum
    return highest["weights"], highest["quorum"]


def forget_votes(directory: Path, nodes: Sequence[PlannedNode]) -> list[Path]:
    """Set the data of stopped nodes aside, so that they start as new ones; return where it is.

    Raises:
        ConfigError: data was set aside before, and is still there.
    """
    kept = []
    for node in nodes:
        folder = node_folder(directory, node)
        aside = folder / KEPT
        if aside.exists():
            raise ConfigError(f"{aside}: is there already; move it elsewhere, or remove it")
        aside.mkdir(mode=0o700)
        for name in ("data", TRACE):
            if (folder / name).exists():
                (folder / name).rename(aside / name)
        marker_path(folder).write_text(TEXT, encoding="utf-8")
        kept.append(aside)
    return kept
