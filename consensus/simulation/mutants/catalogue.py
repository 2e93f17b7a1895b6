"""Known bugs, put back one at a time, to prove that the simulation would find them.

Each `Mutant` is a few edits of the core's source text. An edit replaces text in a named
function, where it must occur exactly once. Numbers B… are those of the public bugs in
docs/BUGS.md; L… are mistakes that the rules of docs/PROTOCOL.md are written against.
`lowu.experiments.mutation_testing` applies them and runs the simulation until a property breaks.
"""

from __future__ import annotations

from lowu.consensus.simulation.mutants.edit import Mutant
from lowu.consensus.simulation.mutants.edit import build_mutant as _mutant
from lowu.consensus.simulation.mutants.of_leaders import BROKEN_LEADERS
from lowu.consensus.simulation.mutants.of_rules import BROKEN_RULES

PUBLIC_BUGS: tuple[Mutant, ...] = (
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
            "MessageVerifier.verify_link",
            "if validators.index_of(node_id) != message.sender and not isinstance(message, NewView):",
            "if False:",
        ),
    ),
    _mutant(
        "B04",
        "the VIEW-CHANGEs in a NEW-VIEW are not verified",
        (
            "certificates",
            "MessageVerifier._check_new_view",
            "self._check_message(change, epoch)",
            "pass",
        ),
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
        "a VIEW-CHANGE's signature does not cover its prepared certificates",
        (
            "codec",
            "_signed_fields",
            "prepared, message.passed_over)",
            "message.passed_over)",
        ),
    ),
    _mutant(
        "B07",
        "one VIEW-CHANGE for a far view drags other replicas there",
        (
            "view_change",
            "join_view_change",
            "if state.validators.has_honest(ahead):",
            "if ahead:",
        ),
    ),
    _mutant(
        "B08",
        "a PRE-PREPARE for a later view is handled in the replica's own view",
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
        "a replica votes for a proposal that fails verification",
        (
            "normal_case",
            "handle_proposal_verified",
            "slot.verdict = ProposalVerdict.UNKNOWN if is_overruled else event.verdict",
            "slot.verdict = ProposalVerdict.VALID",
        ),
    ),
    _mutant(
        "B10",
        "a proposal's time is not compared with that of the one below",
        (
            "normal_case",
            "_extends_predecessor",
            "return proposal.previous == below[0] and proposal.timestamp_ms > below[1]",
            "return proposal.previous == below[0]",
        ),
    ),
    _mutant(
        "B11",
        "a height is ordered without checking the one below",
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
            "MessageVerifier._check_view_change",
            "self.verify_commit(message.stable)",
            "pass",
        ),
    ),
    _mutant(
        "B13",
        "a message changes state before it is found to be invalid",
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
        "one proposal is verified several times at once",
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
        "the end of an execution is not noted, and the next one keeps waiting",
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
        "a second machine with the same key stops the first",
        (
            "replica",
            "Replica._handle_message",
            'raise InvalidMessage("a message that claims to come from this validator")',
            'require_invariant(False, "our key is used elsewhere")',
        ),
    ),
    _mutant(
        "B26",
        "a replica that caught up goes on waiting for old answers",
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
        "votes are cast in a view that was left",
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
        "a re-proposal gets another digest",
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
        "a restart forgets votes",
        ("replica", "Replica.recover", "known = list(records)", "known: list[Record] = []"),
    ),
    _mutant(
        "B32",
        "messages that peers lack are not sent again",
        (
            "catch_up",
            "_what_asker_may_lack",
            "answers: list[Message] = []",
            "return []\n    answers: list[Message] = []",
        ),
    ),
    _mutant(
        "B35",
        "a fetched block is committed again by the node's own commit",
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
        "waiting transactions do not start a timer",
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
        "a restart forgets prepared certificates",
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
)

MUTANTS: tuple[Mutant, ...] = PUBLIC_BUGS + BROKEN_RULES + BROKEN_LEADERS
