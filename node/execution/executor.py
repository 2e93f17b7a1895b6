"""Running blocks, calls and gas estimates.

Everything here is synchronous and CPU-bound; the node runs it in a worker thread. The result is
a value (`ExecutedBlock`): nothing is written until the ledger commits it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lowu.consensus.messages import Proposal
from lowu.consensus.validators import ValidatorSet
from lowu.node.chain.block import VERSION, Header
from lowu.node.chain.merkle import compute_root
from lowu.node.chain.receipt import Receipt, ReceiptStatus, encode_receipt
from lowu.node.chain.roster import Roster
from lowu.node.chain.transaction import Transaction
from lowu.node.errors import BadInput
from lowu.node.execution.evm import BlockContext, Evm, Outcome
from lowu.node.execution.flat_state import LayeredState, StateReader, WriteSet, compute_state_root
from lowu.node.execution.group_state import read_roster
from lowu.node.execution.machine import Watch

CALL_GAS_MAX = 30_000_000
"""Limit on the gas of an eth_call, and its default; bounds the running time."""
ESTIMATE_GAS_MAX = 2 * CALL_GAS_MAX
"""Gas that all runs of one estimate may use together."""


@dataclass(frozen=True, slots=True)
class ExecutedBlock:
    """A block's header with the receipts and writes of its execution."""

    header: Header
    transactions: tuple[Transaction, ...]
    receipts: tuple[Receipt, ...]
    receipt_records: tuple[bytes, ...]
    """The encoded receipts, as stored and as leaves of the receipt tree."""
    writes: WriteSet
    roster: Roster | None = None
    """The nodes of the group from the next block on, after a block that may have changed them."""


@dataclass(frozen=True, slots=True)
class Parent:
    """What a block builds on: the header below and the state after it."""

    header: Header
    state: StateReader

    def extended(self, executed: ExecutedBlock) -> Parent:
        """Return `executed` as the parent of the next block."""
        return Parent(executed.header, LayeredState(self.state, executed.writes))


def execute_transactions(
    evm: Evm, transactions: Sequence[Transaction]
) -> tuple[tuple[Receipt, ...], int]:
    """Run transactions in order; return the receipts and the total gas used."""
    receipts = []
    for transaction in transactions:
        if evm.get_nonce(transaction.sender) != transaction.nonce:
            outcome = Outcome(ReceiptStatus.NONCE_CHECK_FAIL, 0, b"", (), b"")
        else:
            outcome = evm.execute(transaction)
        receipts.append(
            Receipt(
                transaction.hash,
                outcome.status,
                outcome.gas_used,
                outcome.contract_address,
                outcome.output,
                outcome.logs,
            )
        )
    return tuple(receipts), sum(receipt.gas_used for receipt in receipts)


def execute_block(
    parent: Parent,
    proposal: Proposal,
    digest: bytes,
    transactions: tuple[Transaction, ...],
    validators: ValidatorSet,
    block: BlockContext,
) -> ExecutedBlock:
    """Execute an ordered proposal on its parent.

    Raises:
        BadInput: the transactions do not match the proposal's root, or the parent is not the
            block below.
    """
    if compute_root([item.hash for item in transactions]) != proposal.tx_root:
        raise BadInput("transactions do not match the proposal's root")
    below = parent.header
    if (below.number + 1, below.proposal_digest) != (proposal.height, proposal.previous):
        raise BadInput(f"block {proposal.height} does not stand on block {below.number}")
    evm = Evm(parent.state, block)
    receipts, gas_used = execute_transactions(evm, transactions)
    receipt_records = tuple(encode_receipt(receipt) for receipt in receipts)
    writes = evm.writes()
    # A change in any other block, by a contract that calls another, waits for the next barrier.
    is_barrier = proposal.is_barrier
    roster = read_roster(LayeredState(parent.state, writes), block) if is_barrier else None
    header = Header(
        version=VERSION,
        number=proposal.height,
        parent_hash=below.hash,
        proposal_digest=digest,
        tx_root=proposal.tx_root,
        receipt_root=compute_root(receipt_records),
        state_root=compute_state_root(below.state_root, writes),
        gas_used=gas_used,
        timestamp_ms=proposal.timestamp_ms,
        sealer=proposal.proposer,
        sealer_list=tuple(item.node_id for item in validators.validators),
        weights=tuple(item.weight for item in validators.validators),
        extra_data=b"" if roster is None else roster.digest,
    )
    return ExecutedBlock(header, transactions, receipts, receipt_records, writes, roster)


def call(
    state: StateReader, block: BlockContext, template: Transaction, watch: Watch | None = None
) -> Outcome:
    """Run an unsigned transaction against a state and discard its writes.

    Gas 0 means as much as a call may have. The call pays intrinsic gas, the access list
    included, as a transaction does.

    Raises:
        CallAborted: the watch has stopped the call.
    """
    gas_max = min(CALL_GAS_MAX, block.tx_gas_limit or block.gas_limit)
    gas = min(template.gas or gas_max, gas_max)
    return _run_with_gas(state, block, template, gas, watch)


def estimate_gas(
    state: StateReader,
    block: BlockContext,
    template: Transaction,
    gas_max: int,
    watch: Watch | None = None,
) -> tuple[int, Outcome]:
    """Return the lowest gas limit with which a transaction succeeds, and its outcome.

    If it fails even with `gas_max`, the outcome says why and the gas means nothing. The search
    is binary: gas that is held back in calls (EIP-150) must be in the limit but is not used. For
    an expensive transaction the search stops early, at a limit that works but is not the lowest.
    """
    highest = min(gas_max, CALL_GAS_MAX)
    outcome = _run_with_gas(state, block, template, highest, watch)
    if outcome.status is not ReceiptStatus.SUCCESS:
        return highest, outcome
    low, high = outcome.gas_used - 1, highest
    likely = min(highest, outcome.gas_used * 64 // 63 + 2_300)
    if _run_with_gas(state, block, template, likely, watch).status is ReceiptStatus.SUCCESS:
        high = likely
    spent = 2 * outcome.gas_used
    while low + 1 < high and spent < ESTIMATE_GAS_MAX:
        middle = (low + high) // 2
        ran = _run_with_gas(state, block, template, middle, watch)
        spent += ran.gas_used
        if ran.status is ReceiptStatus.SUCCESS:
            high = middle
        else:
            low = middle
    return high, outcome


def _run_with_gas(
    state: StateReader, block: BlockContext, template: Transaction, gas: int, watch: Watch | None
) -> Outcome:
    return Evm(state, block, watch).execute(template._replace(gas=gas))
