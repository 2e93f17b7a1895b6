"""Mutants for mistakes that the rules of docs/PROTOCOL.md are written against (`catalogue`)."""

from __future__ import annotations

from lowu.consensus.simulation.mutants.edit import Mutant
from lowu.consensus.simulation.mutants.edit import build_mutant as _mutant

BROKEN_RULES: tuple[Mutant, ...] = (
    _mutant(
        "L01",
        "a replica sends COMMIT without the chain below (R-COM-1)",
        (
            "normal_case",
            "_vote_commit",
            "lambda s: s.is_ordered or state.safety.has_voted(VoteKind.COMMIT, s.height, state.view)",
            "lambda s: True",
        ),
    ),
    _mutant(
        "L02",
        "replicas vote above a barrier that is not stable (R-BAR-1)",
        (
            "state",
            "ReplicaState.chain_below",
            "below is None or below.proposal is None or below.proposal.is_barrier",
            "below is None or below.proposal is None",
        ),
        ("normal_case", "advance_ordering", "if slot.proposal.is_barrier:", "if False:"),
    ),
    _mutant(
        "L03",
        "the leader's list is trusted for a proposal that a quorum accepted (R-BODY-1)",
        (
            "normal_case",
            "request_verification",
            "if message is not None and not is_vouched else None",
            "if message is not None else None",
        ),
    ),
    _mutant(
        "L04",
        "a CHECKPOINT executed ahead counts as its sender's head (R-LAG-1)",
        (
            "checkpoint",
            "handle_checkpoint",
            "stable_at_least = vote.height - state.log.window",
            "stable_at_least = vote.height",
        ),
    ),
    _mutant(
        "L05",
        "the lowest instead of the highest view's certificate is proposed again (R-NV-2)",
        (
            "certificates",
            "select_reproposals",
            "certificate.view > best[height][0]",
            "certificate.view < best[height][0]",
        ),
    ),
    _mutant(
        "L06",
        "a vote is sent before it is durable (R-SAFE-1)",
        (
            "normal_case",
            "_vote_prepare",
            (
                "state.persist(record, ProposalRecord(state.safety.epoch, state.view, proposal))\n"
                "    state.broadcast(vote)"
            ),
            (
                "state.broadcast(vote)\n"
                "    state.persist(record, ProposalRecord(state.safety.epoch, state.view, proposal))"
            ),
        ),
    ),
    _mutant(
        "L07",
        "a second vote of one validator replaces its first",
        (
            "message_log",
            "record_phase_vote",
            "if known is None or vote.view > known.view:",
            "if known is None or vote.view >= known.view:",
        ),
    ),
    _mutant(
        "L08",
        "votes are stored for any height",
        (
            "normal_case",
            "_vote_slot",
            "if not state.log.is_open(vote.height):",
            "if False:",
        ),
        (
            "message_log",
            "MessageLog.slot",
            'require_invariant(self.is_open(height), f"P09: height {height} outside the watermarks")',
            "pass",
        ),
    ),
    _mutant(
        "L09",
        "a replica commits although its result contradicts a quorum (R-CP-3)",
        (
            "checkpoint",
            "_start_commit",
            "if (digest, block_hash) != (slot.digest, slot.executed_hash):",
            "if False:",
        ),
    ),
    _mutant(
        "L10",
        "COMMITs of different views are added up (R-ORD-1)",
        (
            "message_log",
            "Slot.commit_groups",
            "groups.setdefault(vote.view, [])",
            "groups.setdefault(0, [])",
        ),
    ),
    _mutant(
        "L11",
        "a VIEW-CHANGE carries only certificates of the view just left (R-VC-4)",
        (
            "state",
            "ReplicaState.prepared_certificates",
            "if s.certificate is not None)",
            "if s.certificate is not None and s.certificate.view == self.view)",
        ),
    ),
    _mutant(
        "L12",
        "a lone replica runs away through the views (R-VC-4)",
        (
            "replica",
            "Replica._wanted_view_timer",
            'return ("changing", view, 0) if is_backed else None',
            'return ("changing", view, 0)',
        ),
    ),
    _mutant(
        "L13",
        "a kind of message is never decoded",
        ("codec", "_decode_new_view", "if change[0] != _VIEW_CHANGE:", "if change[0] != 5:"),
    ),
    _mutant(
        "L14",
        "honest messages are refused at the link (R-SIG-2)",
        (
            "certificates",
            "MessageVerifier.verify_link",
            "if validators.index_of(node_id) != message.sender and not isinstance(message, NewView):",
            "if True:",
        ),
    ),
    _mutant(
        "L15",
        "the stored form of a record loses the view asked for",
        (
            "records",
            "decode_record",
            "ViewRecord(epoch, view, to_view)",
            "ViewRecord(epoch, view, view)",
        ),
    ),
    _mutant(
        "L16",
        "one VIEW-CHANGE counts as often as it is listed (R-NV-1)",
        (
            "validators",
            "ValidatorSet.weight_of",
            "distinct = set(indices)",
            "distinct = list(indices)",
        ),
        (
            "certificates",
            "MessageVerifier._check_new_view",
            "if senders != sorted(set(senders)):",
            "if False:",
        ),
    ),
    _mutant(
        "L17",
        "a NEW-VIEW needs only f + 1 VIEW-CHANGEs (R-NV-1)",
        (
            "certificates",
            "MessageVerifier._check_new_view",
            "if not epoch.validators.has_quorum(senders):",
            "if not epoch.validators.has_honest(senders):",
        ),
    ),
    _mutant(
        "L18",
        "any validator may open a view (R-NV-1)",
        (
            "certificates",
            "MessageVerifier._check_new_view",
            "if message.sender != epoch.validators.leader(height, message.view):",
            "if False:",
        ),
    ),
    _mutant(
        "L19",
        "another genesis is accepted (R-CERT-2)",
        (
            "certificates",
            "MessageVerifier.verify_commit",
            "if certificate != self.genesis:",
            "if False:",
        ),
    ),
    _mutant(
        "L20",
        "a validator that lost its disk votes as soon as it has caught up (R-WIPE-1)",
        (
            "catch_up",
            "handle_caught_up",
            "event.height + 2 * state.config.window",
            "event.height",
        ),
    ),
)
