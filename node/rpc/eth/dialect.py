"""The eth dialect: the methods that web3.py, ethers, viem, cast and MetaMask call.

There are no fees: gas price and priority fee are zero and any offered fee is ignored. State can
be asked of the last blocks (`history_blocks`); a request for older state is an error, not a wrong
answer. "latest" is the last block's state at the time of now; a block by number or hash is seen
with its own time.
"""

from __future__ import annotations

from typing import Any, NoReturn

from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError

from lowu.contracts.registry import decode_registry_error
from lowu.node.chain.receipt import ReceiptStatus
from lowu.node.chain.transaction import (
    INIT_CODE_BYTES_MAX,
    AccessList,
    Transaction,
    build_unsigned,
    compute_intrinsic_gas,
)
from lowu.node.crypto import keccak256
from lowu.node.errors import InvalidTransaction
from lowu.node.execution.evm import Outcome
from lowu.node.execution.machine import Watch
from lowu.node.rpc.call_runner import Offloaded
from lowu.node.rpc.eth.filters import find_logs, parse_filter
from lowu.node.rpc.eth.shapes import block_object, receipt_object, transaction_object
from lowu.node.rpc.json_values import (
    parse_address,
    parse_data,
    parse_flag,
    parse_quantity,
    show,
    to_data,
    to_quantity,
)
from lowu.node.rpc.reader import ChainReader
from lowu.node.rpc.rpc_errors import (
    EXECUTION_REVERTED,
    NOT_SUPPORTED,
    RESOURCE_NOT_FOUND,
    SERVER_ERROR,
    TIMED_OUT,
    RpcError,
    invalid_params,
)
from lowu.node.rpc.status import NodeStatus
from lowu.node.rpc.waiter import CommitWaiter
from lowu.node.version import CLIENT_VERSION

ERROR_STRING = bytes.fromhex("08c379a0")
FEE_HISTORY_BLOCKS_MAX = 1024
PERCENTILES_MAX = 100
SYNC_MS, SYNC_MS_MAX = 2_000, 20_000
"""Default and greatest time for which eth_sendRawTransactionSync waits."""
BLOCK_HASH_CHARS = 66
LATEST_TAGS = ("latest", "pending", "safe", "finalized")


def _parse_timeout(value: object) -> int:
    """Return milliseconds given as a number, as in EIP-7966, or as a quantity."""
    return value if type(value) is int and value > 0 else parse_quantity(value, "timeout")


def _check_percentiles(values: object) -> None:
    """Refuse anything but a list of percentiles: 0 to 100, in rising order."""
    if values is None:
        return
    if not isinstance(values, list) or len(values) > PERCENTILES_MAX:
        raise invalid_params(f"percentiles: expected a list of at most {PERCENTILES_MAX}")
    for before, value in zip([0, *values], values, strict=False):
        if type(value) not in (int, float) or not before <= value <= 100:
            text = "percentiles: expected numbers from 0 to 100 in rising order"
            raise invalid_params(f"{text}, got {show(value)}")


class EthMethods:
    """Handlers of eth_*, net_* and web3_*; each takes the list of parameters."""

    def __init__(self, reader: ChainReader, status: NodeStatus, waiter: CommitWaiter) -> None:
        self._chain = reader
        self._status = status
        self._waiter = waiter

    # --- constants and node -------------------------------------------------------------------

    def web3_clientVersion(self) -> str:
        return CLIENT_VERSION

    def web3_sha3(self, data: object) -> str:
        return to_data(keccak256(parse_data(data, "data")))

    def net_version(self) -> str:
        return str(self._chain.genesis.web3_chain_id)

    def net_listening(self) -> bool:
        return True

    def net_peerCount(self) -> str:
        return to_quantity(len(self._status.connected))

    def eth_chainId(self) -> str:
        return to_quantity(self._chain.genesis.web3_chain_id)

    def eth_syncing(self) -> Any:
        status = self._status.sync_progress()
        return False if status is None else status

    def eth_accounts(self) -> list[str]:
        return []

    def eth_coinbase(self) -> str:
        return to_data(keccak256(self._status.node_id)[12:])

    def eth_mining(self) -> bool:
        return False

    def eth_hashrate(self) -> str:
        return "0x0"

    def eth_gasPrice(self) -> str:
        return "0x0"

    def eth_maxPriorityFeePerGas(self) -> str:
        return "0x0"

    def eth_feeHistory(self, count: object, newest: object, percentiles: Any = None) -> Any:
        wanted = count if type(count) is int else parse_quantity(count, "block count")
        if wanted < 0:
            raise invalid_params(f"block count: {show(count)} is negative")
        _check_percentiles(percentiles)
        number = min(self._block_number(newest), self._chain.height)
        blocks = min(wanted, number + 1, FEE_HISTORY_BLOCKS_MAX)
        rewards = ["0x0"] * len(percentiles or [])
        return {
            "oldestBlock": to_quantity(number - blocks + 1 if blocks else 0),
            "baseFeePerGas": ["0x0"] * (blocks + 1),
            "gasUsedRatio": [0.0] * blocks,
            "reward": [rewards] * blocks,
        }

    def txpool_status(self) -> dict[str, str]:
        return {"pending": to_quantity(self._waiter.pending_count), "queued": "0x0"}

    # --- accounts ---------------------------------------------------------------------------

    def eth_getBalance(self, address: object, tag: object = "latest") -> str:
        return to_quantity(self._chain.account(parse_address(address), self._place(tag))[1])

    def eth_getTransactionCount(self, address: object, tag: object = "latest") -> str:
        account = parse_address(address)
        if tag == "pending":
            return to_quantity(self._waiter.pending_nonce(account))
        return to_quantity(self._chain.account(account, self._place(tag))[0])

    def eth_getCode(self, address: object, tag: object = "latest") -> str:
        return to_data(self._chain.code(parse_address(address), self._place(tag)))

    def eth_getStorageAt(self, address: object, slot: object, tag: object = "latest") -> str:
        account, place = parse_address(address), parse_quantity(slot, "slot")
        return to_data(self._chain.storage_at(account, place, self._place(tag)))

    # --- transactions -------------------------------------------------------------------------

    def eth_sendRawTransaction(self, raw: object) -> str:
        try:
            return to_data(self._waiter.submit(parse_data(raw, "transaction")).hash)
        except InvalidTransaction as error:
            raise RpcError(error.code, str(error)) from error

    async def eth_sendRawTransactionSync(self, raw: object, timeout_ms: object = None) -> Any:
        """EIP-7966: return the receipt once this node has committed the transaction."""
        wait_ms = SYNC_MS if timeout_ms is None else _parse_timeout(timeout_ms)
        tx_hash = parse_data(self.eth_sendRawTransaction(raw), "transaction hash", 32)
        wait_s = min(wait_ms, SYNC_MS_MAX) / 1000
        placed = await self._waiter.wait_for(tx_hash, wait_s)
        if placed is None:
            text = f"not committed within {wait_s:g} s; it may still be: ask for its receipt"
            raise RpcError(TIMED_OUT, text, to_data(tx_hash))
        return receipt_object(placed)

    def eth_call(
        self, message: object, tag: object = "latest", overrides: object = None
    ) -> Offloaded:
        if overrides:
            raise RpcError(NOT_SUPPORTED, "state overrides are not supported")
        template = _parse_message(message)
        run = self._chain.call(template, self._place(tag), is_next=tag == "pending")

        def work(watch: Watch | None) -> str:
            outcome = run(watch)
            if outcome.status is not ReceiptStatus.SUCCESS:
                _raise_failure(outcome, template)
            return to_data(outcome.output)

        return Offloaded(work)

    def eth_estimateGas(self, message: object, tag: object = "latest") -> Offloaded:
        template = _parse_message(message)
        run = self._chain.estimate_gas(template, self._place(tag))

        def work(watch: Watch | None) -> str:
            gas, outcome = run(watch)
            if outcome.status is not ReceiptStatus.SUCCESS:
                _raise_failure(outcome, template)
            return to_quantity(gas)

        return Offloaded(work)

    def eth_getTransactionByHash(self, tx_hash: object) -> Any:
        wanted = parse_data(tx_hash, "transaction hash", 32)
        placed = self._chain.find_transaction(wanted)
        if placed is not None:
            return transaction_object(placed.transaction, placed)
        pending = self._waiter.find_pending(wanted)
        return transaction_object(pending, None) if pending is not None else None

    def eth_getTransactionReceipt(self, tx_hash: object) -> Any:
        placed = self._chain.find_transaction(parse_data(tx_hash, "transaction hash", 32))
        return receipt_object(placed) if placed is not None else None

    def eth_getTransactionByBlockNumberAndIndex(self, tag: object, index: object) -> Any:
        return self._transaction_at(self._find_number(tag), index)

    def eth_getTransactionByBlockHashAndIndex(self, block_hash: object, index: object) -> Any:
        return self._transaction_at(self._find_hash(block_hash), index)

    def _transaction_at(self, number: int | None, index: object) -> Any:
        position = parse_quantity(index, "index")
        placed = self._chain.placed(number) if number is not None else []
        if position >= len(placed):
            return None
        return transaction_object(placed[position].transaction, placed[position])

    # --- blocks -----------------------------------------------------------------------------

    def eth_blockNumber(self) -> str:
        return to_quantity(self._chain.height)

    def eth_getBlockByNumber(self, tag: object, is_full: object = False) -> Any:
        return self._block(self._find_number(tag), is_full)

    def eth_getBlockByHash(self, block_hash: object, is_full: object = False) -> Any:
        return self._block(self._find_hash(block_hash), is_full)

    def _block(self, number: int | None, is_full: object) -> Any:
        if number is None:
            return None
        return block_object(
            self._chain.header(number),
            self._chain.placed(number),
            is_full=parse_flag(is_full, "full transactions"),
            size=self._chain.block_size(number),
        )

    def eth_getBlockTransactionCountByNumber(self, tag: object) -> Any:
        number = self._find_number(tag)
        return None if number is None else to_quantity(len(self._chain.placed(number)))

    def eth_getBlockTransactionCountByHash(self, block_hash: object) -> Any:
        number = self._find_hash(block_hash)
        return None if number is None else to_quantity(len(self._chain.placed(number)))

    def eth_getBlockReceipts(self, tag: object) -> Any:
        number = self._find_number(tag)
        if number is None:
            return None
        return [receipt_object(item) for item in self._chain.placed(number)]

    def eth_getUncleCountByBlockNumber(self, tag: object) -> Any:
        return None if self._find_number(tag) is None else "0x0"

    async def eth_getLogs(self, raw: object) -> Any:
        if not isinstance(raw, dict):
            raise invalid_params("filter: expected an object")
        wanted = parse_filter(raw)
        low_tag, high_tag = raw.get("fromBlock"), raw.get("toBlock")
        if raw.get("blockHash") is not None:
            if low_tag is not None or high_tag is not None:
                raise invalid_params("filter: either blockHash, or fromBlock and toBlock")
            number = self._find_hash(raw["blockHash"])
            if number is None:
                raise RpcError(RESOURCE_NOT_FOUND, "unknown block hash")
            return await find_logs(self._chain, wanted, number, number)
        low = self._block_number("latest" if low_tag is None else low_tag)
        high = self._block_number("latest" if high_tag is None else high_tag)
        if low > high:
            raise invalid_params(f"filter: fromBlock {low} is above toBlock {high}")
        if low > self._chain.height:
            raise invalid_params(f"filter: fromBlock {low} is above the head {self._chain.height}")
        return await find_logs(self._chain, wanted, low, high)

    # --- block tags -------------------------------------------------------------------------

    def _block_number(self, tag: object) -> int:
        if tag in LATEST_TAGS:
            return self._chain.height
        if tag == "earliest":
            return 0
        return parse_quantity(tag, "block")

    def _find_number(self, tag: object) -> int | None:
        if isinstance(tag, dict):  # EIP-1898
            if "blockHash" in tag:
                return self._find_hash(tag["blockHash"])
            tag = tag.get("blockNumber")
        elif isinstance(tag, str) and len(tag) == BLOCK_HASH_CHARS:
            return self._find_hash(tag)  # as web3.py and ethers send it; no number is so long
        number = self._block_number(tag)
        return number if number <= self._chain.height else None

    def _find_hash(self, block_hash: object) -> int | None:
        return self._chain.find_block(parse_data(block_hash, "block hash", 32))

    def _place(self, tag: object) -> int | None:
        """Return the block whose state is asked for; None for the last one as it is now."""
        if tag is None or tag in LATEST_TAGS:
            return None
        number = self._find_number(tag)
        if number is None:
            raise RpcError(RESOURCE_NOT_FOUND, f"no such block here: {show(tag)}")
        return number


def _parse_message(raw: object) -> Transaction:
    """Return the call object as an unsigned transaction; `gas` 0 means not given."""
    if not isinstance(raw, dict):
        raise invalid_params("call: expected an object")
    for name in ("gasPrice", "maxFeePerGas", "maxPriorityFeePerGas", "nonce"):
        if raw.get(name) is not None:  # not used here, but it must be a quantity
            parse_quantity(raw[name], name)
    data = raw.get("input") or raw.get("data") or "0x"
    sender = raw.get("from")
    to = raw.get("to")
    if not to and len(str(data)) > 2 * INIT_CODE_BYTES_MAX + 2:
        raise invalid_params(f"call: creation code is larger than {INIT_CODE_BYTES_MAX} bytes")
    return build_unsigned(
        sender=parse_address(sender, "from") if sender else bytes(20),
        to=parse_address(to, "to") if to else b"",
        data=parse_data(data, "data"),
        value=parse_quantity(raw.get("value") or "0x0", "value"),
        gas=parse_quantity(raw.get("gas") or "0x0", "gas"),
        access_list=_parse_access_list(raw.get("accessList")),
    )


def _parse_access_list(raw: object) -> AccessList:
    """Return the access list of an eth_call or eth_estimateGas (EIP-2930)."""
    if raw is None:
        return ()
    if not isinstance(raw, list) or not all(isinstance(item, dict) for item in raw):
        raise invalid_params("accessList: expected a list of objects")
    entries = []
    for item in raw:
        keys = item.get("storageKeys") or []
        if not isinstance(keys, list):
            raise invalid_params("accessList: storageKeys is a list")
        slots = [int.from_bytes(parse_data(key, "storage key", 32), "big") for key in keys]
        entries.append((parse_address(item.get("address"), "access list address"), tuple(slots)))
    return tuple(entries)


def _raise_failure(outcome: Outcome, template: Transaction) -> NoReturn:
    if outcome.status is ReceiptStatus.OUT_OF_GAS_LIMIT:
        needed = compute_intrinsic_gas(template)
        raise RpcError(
            SERVER_ERROR, f"intrinsic gas too low: have {outcome.gas_used}, want {needed}"
        )
    if outcome.status is ReceiptStatus.REVERT:
        reason = describe_revert(outcome.output)
        message = f"execution reverted: {reason}" if reason else "execution reverted"
        raise RpcError(EXECUTION_REVERTED, message, to_data(outcome.output))
    raise RpcError(SERVER_ERROR, f"execution failed: {outcome.status.name.lower()}")


def describe_revert(output: bytes) -> str:
    """Return the reason in revert data, or "" if it has no readable one."""
    code = decode_registry_error(output)
    if code is not None:
        return f"{code.value} {code.name}"
    if output[:4] == ERROR_STRING:
        try:
            return str(abi_decode(("string",), output[4:])[0])
        except (DecodingError, OverflowError, UnicodeDecodeError):
            return ""
    return ""
