"""Mutants that choose leaders wrongly, one mistake each (rules R-LEAD-2 to R-LEAD-4)."""

from __future__ import annotations

from lowu.consensus.simulation.mutants.edit import Mutant
from lowu.consensus.simulation.mutants.edit import build_mutant as _mutant

BROKEN_LEADERS: tuple[Mutant, ...] = (
    _mutant(
        "L21",
        "replicas never name a leader that failed (R-LEAD-4)",
        (
            "suspects",
            "list_suspects",
            "failures = sorted(state.failures.items())",
            "failures = sorted({}.items())",
        ),
    ),
    _mutant(
        "L22",
        "one validator alone can have a leader passed over (R-LEAD-3)",
        ("leaders", "_agreed_height", "if validators.has_honest(senders):", "if senders:"),
    ),
    _mutant(
        "L23",
        "more than f weight may be passed over at once (R-LEAD-3)",
        ("leaders", "select_passed_over", "if until > 0 and is_within:", "if until > 0:"),
    ),
    _mutant(
        "L24",
        "a leader passed over never leads again in that view (R-LEAD-2)",
        (
            "validators",
            "ValidatorSet.leader",
            "if passed_over.get(leader, -1) < height:",
            "if leader not in passed_over:",
        ),
    ),
    _mutant(
        "L25",
        "the opener of a view is passed over in it (R-LEAD-3)",
        ("leaders", "select_passed_over", "if index != opener", "if True"),
    ),
    _mutant(
        "L26",
        "leaders may be passed over for any number of heights (R-LEAD-3)",
        (
            "certificates",
            "_check_passed_over",
            "if not all(low < until <= high for _, until in message.passed_over):",
            "if False:",
        ),
    ),
    _mutant(
        "L27",
        "a restart forgets which leaders are passed over (R-LEAD-3)",
        (
            "replica",
            "Replica._restore_view",
            "state.passed_over = select_passed_over(state.validators, changes, opener)",
            "pass",
        ),
    ),
    _mutant(
        "L28",
        "a VIEW-CHANGE's signature does not cover the leaders it names (R-LEAD-4)",
        (
            "codec",
            "_signed_fields",
            "prepared, message.passed_over)",
            "prepared)",
        ),
    ),
    _mutant(
        "L29",
        "replicas still wait for a leader that is passed over (R-LEAD-2)",
        (
            "normal_case",
            "_may_lead",
            "return message.sender == current_leader(state, height)",
            "return message.sender == state.validators.leader(height, state.view)",
        ),
    ),
)
