"""JSON shapes of the eth dialect (ethereum/execution-apis), from Lowu's own objects."""

from __future__ import annotations

from typing import Any

from lowu.node.chain.block import Header
from lowu.node.chain.receipt import Log, compute_bloom
from lowu.node.chain.transaction import Transaction
from lowu.node.rpc.json_values import to_data, to_quantity
from lowu.node.rpc.reader import PlacedTransaction
from lowu.node.settings import BLOCK_GAS_MAX

EMPTY_UNCLES_HASH = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"
ZERO_HASH = "0x" + "00" * 32
ZERO_ADDRESS = "0x" + "00" * 20


def block_object(
    header: Header, placed: list[PlacedTransaction], *, is_full: bool, size: int
) -> dict[str, Any]:
    """Return a block in the form of eth_getBlockBy…."""
    transactions: list[Any] = [
        transaction_object(item.transaction, item) if is_full else to_data(item.transaction.hash)
        for item in placed
    ]
    return {
        **head_object(header, placed),
        "size": to_quantity(size),
        "transactions": transactions,
        "uncles": [],
        "withdrawals": [],
    }


def head_object(header: Header, placed: list[PlacedTransaction]) -> dict[str, Any]:
    """Return the part of a block that newHeads pushes."""
    bloom = compute_bloom(tuple(item.receipt for item in placed))
    return {
        "number": to_quantity(header.number),
        "hash": to_data(header.hash),
        "parentHash": to_data(header.parent_hash),
        "nonce": "0x0000000000000000",
        "sha3Uncles": EMPTY_UNCLES_HASH,
        "logsBloom": to_data(bloom),
        "transactionsRoot": to_data(header.tx_root),
        "stateRoot": to_data(header.state_root),
        "receiptsRoot": to_data(header.receipt_root),
        "miner": ZERO_ADDRESS,
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "extraData": to_data(header.extra_data),
        "gasLimit": to_quantity(BLOCK_GAS_MAX),
        "gasUsed": to_quantity(header.gas_used),
        "timestamp": to_quantity(header.time_s),
        "mixHash": ZERO_HASH,
        "baseFeePerGas": "0x0",
    }


def transaction_object(
    transaction: Transaction, placed: PlacedTransaction | None
) -> dict[str, Any]:
    """Return a transaction, which is pending if it has no position in a block."""
    found: dict[str, Any] = {
        "type": to_quantity(transaction.type),
        "hash": to_data(transaction.hash),
        "nonce": to_quantity(transaction.nonce),
        "from": to_data(transaction.sender),
        "to": to_data(transaction.to) if transaction.to else None,
        "value": to_quantity(transaction.value),
        "gas": to_quantity(transaction.gas),
        "gasPrice": to_quantity(transaction.max_fee_per_gas),
        "input": to_data(transaction.data),
        "v": to_quantity(transaction.v),
        "r": to_quantity(transaction.r),
        "s": to_quantity(transaction.s),
        "blockHash": to_data(placed.header.hash) if placed else None,
        "blockNumber": to_quantity(placed.header.number) if placed else None,
        "transactionIndex": to_quantity(placed.index) if placed else None,
    }
    if transaction.chain_id is not None:
        found["chainId"] = to_quantity(transaction.chain_id)
    if transaction.type >= 1:
        found["yParity"] = to_quantity(transaction.v)
        found["accessList"] = [
            {
                "address": to_data(address),
                "storageKeys": [to_data(slot.to_bytes(32, "big")) for slot in slots],
            }
            for address, slots in transaction.access_list
        ]
    if transaction.type == 2:
        found["maxFeePerGas"] = to_quantity(transaction.max_fee_per_gas)
        found["maxPriorityFeePerGas"] = to_quantity(transaction.max_priority_fee_per_gas)
    return found


def receipt_object(placed: PlacedTransaction) -> dict[str, Any]:
    """Return a receipt; status is 1 for success and 0 for any failure."""
    receipt, transaction = placed.receipt, placed.transaction
    created = receipt.contract_address
    return {
        "type": to_quantity(transaction.type),
        "transactionHash": to_data(transaction.hash),
        "transactionIndex": to_quantity(placed.index),
        "blockHash": to_data(placed.header.hash),
        "blockNumber": to_quantity(placed.header.number),
        "from": to_data(transaction.sender),
        "to": to_data(transaction.to) if transaction.to else None,
        "contractAddress": to_data(created) if created else None,
        "cumulativeGasUsed": to_quantity(placed.gas_used_before + receipt.gas_used),
        "gasUsed": to_quantity(receipt.gas_used),
        "effectiveGasPrice": "0x0",
        "logs": [log_object(log, placed, position) for position, log in enumerate(receipt.logs)],
        "logsBloom": to_data(compute_bloom((receipt,))),
        "status": "0x1" if receipt.is_success else "0x0",
    }


def log_object(log: Log, placed: PlacedTransaction, position: int) -> dict[str, Any]:
    """Return one log with its position."""
    return {
        "address": to_data(log.address),
        "topics": [to_data(topic) for topic in log.topics],
        "data": to_data(log.data),
        "blockNumber": to_quantity(placed.header.number),
        "blockHash": to_data(placed.header.hash),
        "blockTimestamp": to_quantity(placed.header.time_s),
        "transactionHash": to_data(placed.transaction.hash),
        "transactionIndex": to_quantity(placed.index),
        "logIndex": to_quantity(placed.log_index + position),
        "removed": False,
    }
