"""Known bugs, put back one at a time, to prove that the simulation would find them.

Each `Mutant` is a few edits of the core's source text: in a named function some text, which
must occur there exactly once, is replaced. The numbers are those of the public bugs in
docs/BUGS.md (B…); L… are mistakes that the rules of docs/PROTOCOL.md are written against.
`experiments.mutants` applies them and runs the simulation until a property breaks.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """A replacement of text in one function of the core."""

    module: str
    function: str
    """Qualified name, such as `Slot.accept`."""
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug and the edits that put it back."""

    name: str
    bug: str
    edits: tuple[Edit, ...]


def _mutant(name: str, bug: str, *edits: tuple[str, str, str, str]) -> Mutant:
    return Mutant(name, bug, tuple(Edit(f"consensus.{edit[0]}", *edit[1:]) for edit in edits))


MUTANTS: tuple[Mutant, ...] = (
    _mutant(
        "B01",
        "a signature does not cover the type of the message",
        ("codec", "signing_digest", "_TAGS[type(message)]", '"lowu/1/vote"'),
    ),
    _mutant(
        "B02",
        "a proposal's digest does not bind the transactions",
        (
            "codec",
            "compute_digest",
            "*proposal_fields(proposal)",
            "*proposal_fields(proposal)[:2], *proposal_fields(proposal)[3:]",
        ),
    ),
    _mutant(
        "B03",
        "the sender in a message is not compared with the link it came over",
        (
            "certificates",
            "Verifier.verify_link",
            "if validators.index_of(node_id) != message.sender and not isinstance(message, NewView):",
            "if False:",
        ),
    ),
    _mutant(
        "B04",
        "the VIEW-CHANGEs in a NEW-VIEW are not verified",
        ("certificates", "Verifier._check_new_view", "self._check_message(change, epoch)", "pass"),
    ),
    _mutant(
        "B05",
        "a VIEW-CHANGE carries no prepared certificates",
        (
            "state",
            "ReplicaState.prepared_certificates",
            "return tuple(s.certificate for s in self.log.ascending() if s.certificate is not None)",
            "return ()",
        ),
    ),
    _mutant(
        "B06",
        "what a VIEW-CHANGE has prepared is not covered by its signature",
        (
            "codec",
            "_signed_fields",
            "_commit_fields(message.stable), prepared)",
            "_commit_fields(message.stable))",
        ),
    ),
    _mutant(
        "B07",
        "one VIEW-CHANGE with a far view drags others along",
        (
            "view_change",
            "join_view_change",
            "if state.validators.has_honest(ahead):",
            "if ahead:",
        ),
    ),
    _mutant(
        "B08",
        "a PRE-PREPARE of a later view is handled in the local one",
        ("normal_case", "handle_pre_prepare", "if message.view > state.view:", "if False:"),
        (
            "normal_case",
            "_accept_pre_prepare",
            "slot.accept(message.proposal, digest, message.view)",
            "slot.accept(message.proposal, digest, state.view)",
        ),
    ),
    _mutant(
        "B09",
        "a proposal that does not check out is voted for",
        (
            "normal_case",
            "handle_proposal_verified",
            "slot.verdict = Verdict.UNKNOWN if is_overruled else event.verdict",
            "slot.verdict = Verdict.VALID",
        ),
    ),
    _mutant(
        "B10",
        "the time of a proposal is not compared with the one below",
        (
            "normal_case",
            "_extends_predecessor",
            "return proposal.previous == below[0] and proposal.timestamp_ms > below[1]",
            "return proposal.previous == below[0]",
        ),
    ),
    _mutant(
        "B11",
        "a height is ordered without looking at the one below",
        (
            "normal_case",
            "_order",
            "if below is None or below[0] != slot.proposal.previous:",
            "if False:",
        ),
        (
            "normal_case",
            "_vote_commit",
            "if below is None or below[0] != certificate.proposal.previous:",
            "if False:",
        ),
    ),
    _mutant(
        "B12",
        "the stable certificate of a VIEW-CHANGE is not verified",
        (
            "certificates",
            "Verifier._check_view_change",
            "self.verify_commit(message.stable)",
            "pass",
        ),
    ),
    _mutant(
        "B13",
        "state changes before a message is found to be invalid",
        (
            "normal_case",
            "handle_pre_prepare",
            "if message.proposal.proposer != message.sender:",
            "state.log.slot(height)\n    if message.proposal.proposer != message.sender:",
        ),
    ),
    _mutant(
        "B14",
        "a peer is answered as often as it asks",
        (
            "catch_up",
            "handle_status",
            "if message.sender in state.answered:",
            "if False:",
        ),
    ),
    _mutant(
        "B15",
        "one proposal is verified again and again at the same time",
        ("normal_case", "request_verification", "slot.is_fetching or slot.verdict", "slot.verdict"),
    ),
    _mutant(
        "B17",
        "the time-out grows without a cap",
        ("timeouts", "TimeoutPolicy.view_timeout_ms", "return cap_ms", "continue"),
    ),
    _mutant(
        "B18",
        "an error of the decoder escapes",
        (
            "codec",
            "_unpack",
            "(ValueError, TypeError, msgpack.UnpackException, RecursionError)",
            "ZeroDivisionError",
        ),
    ),
    _mutant(
        "B19",
        "the end of an execution is not noted, and the next one waits for it",
        ("checkpoint", "handle_proposal_executed", "state.executing = None", "pass"),
    ),
    _mutant(
        "B22",
        "a block counts as committed before it is durable",
        (
            "checkpoint",
            "_start_commit",
            "state.committing = slot.height",
            (
                "become_stable(state, CommitCertificate(slot.height, digest, block_hash, signatures),"
                " slot.proposal.timestamp_ms)"
            ),
        ),
    ),
    _mutant(
        "B24",
        "a second machine with the same key ends the first",
        (
            "replica",
            "Replica._handle_message",
            'raise InvalidMessage("a message that claims to come from this validator")',
            'require_invariant(False, "our key is used elsewhere")',
        ),
    ),
    _mutant(
        "B26",
        "a replica that caught up goes on waiting for what it waited for",
        ("checkpoint", "become_stable", "state.committing = None", "pass"),
        ("catch_up", "handle_synced", "state.executing = None", "pass"),
    ),
    _mutant(
        "B27",
        "a leader proposes what it built before it lost the lead",
        (
            "normal_case",
            "handle_proposal_built",
            (
                "if state.building != (event.view, proposal.height, proposal.previous)"
                " or not state.is_normal:"
            ),
            "if False:",
        ),
    ),
    _mutant(
        "B29",
        "votes are given in a view that was left",
        (
            "safety",
            "Safety.may_vote",
            "(self.is_changing or view != self.view)",
            "view != self.view",
        ),
        ("state", "ReplicaState.is_normal", "not self.safety.is_changing and", ""),
    ),
    _mutant(
        "B30",
        "a proposal that is proposed again gets another digest",
        (
            "certificates",
            "select_reproposals",
            "proposal = best[height][1]",
            (
                "p = best[height][1]\n"
                "        proposal = Proposal(p.height, p.previous, p.tx_root, p.timestamp_ms"
                " + best[height][0] + 1, p.proposer, p.is_barrier)"
            ),
        ),
    ),
    _mutant(
        "B31",
        "votes are forgotten in a restart",
        ("replica", "Replica.recover", "known = list(records)", "known: list[Record] = []"),
    ),
    _mutant(
        "B32",
        "what others lack is not sent again",
        (
            "catch_up",
            "_what_asker_may_lack",
            "answers: list[Message] = []",
            "return []\n    answers: list[Message] = []",
        ),
    ),
    _mutant(
        "B35",
        "a block that was fetched is committed again when the own commit comes",
        (
            "catch_up",
            "handle_synced",
            "if certificate.height <= state.stable.height:",
            "if False:",
        ),
    ),
    _mutant(
        "B36",
        "a quorum is 2 f + 1, whatever the weight",
        (
            "quorum",
            "compute_quorum",
            "return total_weight - compute_fault_threshold(total_weight)",
            "return 2 * compute_fault_threshold(total_weight) + 1",
        ),
    ),
    _mutant(
        "B38",
        "waiting transactions start no timer",
        (
            "replica",
            "Replica._wanted_view_timer",
            "if state.has_pending or state.has_in_flight():",
            "if state.has_in_flight():",
        ),
    ),
    _mutant(
        "B41",
        "evidence is reported and not stored",
        (
            "state",
            "ReplicaState.report",
            "self.persist(EvidenceRecord(self.epoch.first_height, evidence))",
            "pass",
        ),
    ),
    _mutant(
        "B44",
        "prepared certificates are forgotten in a restart",
        (
            "replica",
            "Replica._restore_record",
            "slot.certificate = record.certificate",
            "pass",
        ),
    ),
    _mutant(
        "B46",
        "the verdict on one proposal is kept for another of the same height",
        (
            "message_log",
            "Slot.accept",
            "if digest != self.digest or self.proposal is None:",
            "if self.proposal is None:",
        ),
    ),
    _mutant(
        "L01",
        "COMMIT for a height without the chain below (R-COM-1)",
        (
            "normal_case",
            "_vote_commit",
            "lambda s: s.is_ordered or state.safety.has_voted(VoteKind.COMMIT, s.height, state.view)",
            "lambda s: True",
        ),
    ),
    _mutant(
        "L02",
        "votes above a barrier that is not stable (R-BAR-1)",
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
        "the leader's list is believed for what a quorum vouches for (R-BODY-1)",
        (
            "normal_case",
            "request_verification",
            "if message is not None and not is_vouched else None",
            "if message is not None else None",
        ),
    ),
    _mutant(
        "L04",
        "CHECKPOINT of a block executed ahead counts as its sender's head (R-LAG-1)",
        (
            "checkpoint",
            "handle_checkpoint",
            "stable_at_least = vote.height - state.config.window",
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
        "a result that contradicts a quorum is committed all the same (R-CP-3)",
        (
            "checkpoint",
            "_start_commit",
            "if (digest, block_hash) != (slot.digest, slot.executed_hash):",
            "if False:",
        ),
    ),
)
