"""Blocks over the flat state: equality with py-evm's own state, failures, roots, determinism."""

from dataclasses import replace

import pytest
from eth import constants
from eth.chains.base import MiningChain
from eth.db.atomic import AtomicDB
from eth.vm.forks.cancun import CancunVM
from eth_keys import keys

from lowu.contracts.abi import load_artifact
from lowu.contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    AnchorState,
    RegistryErrorCode,
    RevokeReason,
    Suite,
    decode_record,
    decode_registry_error,
    encode_get_record,
    encode_register_anchor,
    encode_revoke,
    encode_supersede,
    hash_function,
)
from lowu.node.chain.receipt import ReceiptStatus
from lowu.node.chain.transaction import build_unsigned, decode_transaction
from lowu.node.errors import BadInput, ConfigError
from lowu.node.execution.evm import Evm
from lowu.node.execution.executor import call, estimate_gas
from lowu.node.execution.flat_state import EmptyState, LayeredState, compute_state_root
from lowu.node.execution.genesis import build_genesis
from lowu.node.genesis_config import OrgEntry
from tests.unit import node_kit as kit
from tests.unit.node_kit import ACCOUNT, OTHER, Chain, signed

ANCHOR = b"\x07" * 32


def register(anchor=ANCHOR, nonce=0, account=ACCOUNT, **changes):
    fields = {"schema": 1, "key_id": 1, "valid_until_day": 0, "suite": Suite.SHA256_P256} | changes
    data = encode_register_anchor(anchor, **fields)
    return signed(account, to=HASH_REGISTRY_ADDRESS, data=data, nonce=nonce)


def registry_call(data, nonce, account=ACCOUNT):
    return signed(account, to=HASH_REGISTRY_ADDRESS, data=data, nonce=nonce)


def record_of(chain, anchor=ANCHOR):
    data = encode_get_record(1, anchor)
    template = build_unsigned(bytes(20), HASH_REGISTRY_ADDRESS, data)
    outcome = call(chain.ledger, kit.context(9), template)
    return decode_record(outcome.output)


def test_genesis_follows_from_the_configuration():
    one, two = build_genesis(kit.GENESIS), build_genesis(kit.GENESIS)
    assert one.header.hash == two.header.hash
    assert build_genesis(replace(kit.GENESIS, tx_gas_limit=10**7)).header.hash != one.header.hash
    bad = OrgEntry(0, "x", 1, 3, ACCOUNT.address.lower(), "11" * 64)
    with pytest.raises(ConfigError, match="admitOrg for organisation x failed: MALFORMED"):
        build_genesis(replace(kit.GENESIS, orgs=(bad,)))


def test_registering_an_anchor():
    chain = Chain()
    executed = chain.commit(register())
    (receipt,) = executed.receipts
    assert receipt.status is ReceiptStatus.SUCCESS and len(receipt.logs) == 1
    record = record_of(chain)
    assert record.state is AnchorState.ACTIVE
    assert (record.registered_height, record.schema, record.key_id) == (1, 1, 1)
    assert record_of(chain, b"\x08" * 32).state is AnchorState.NONE


def test_equal_registration_is_idempotent_and_another_is_refused():
    chain = Chain()
    executed = chain.commit(register(), register(nonce=1), register(nonce=2, valid_until_day=99))
    same, other = executed.receipts[1:]
    assert same.status is ReceiptStatus.SUCCESS and same.logs == ()
    assert int.from_bytes(same.output, "big") == 1
    assert other.status is ReceiptStatus.REVERT
    assert decode_registry_error(other.output) is RegistryErrorCode.ALREADY_REGISTERED_CONFLICT


@pytest.mark.parametrize(
    ("changes", "account", "code"),
    [
        ({"anchor": bytes(32)}, ACCOUNT, "ZERO_ANCHOR"),
        ({"schema": 0}, ACCOUNT, "BAD_SCHEMA"),
        ({"schema": 4}, ACCOUNT, "NOT_ACCREDITED"),
        ({"suite": 9}, ACCOUNT, "BAD_SUITE"),
        ({"key_id": 0}, ACCOUNT, "MALFORMED"),
        ({}, OTHER, "UNKNOWN_ACCOUNT"),
    ],
)
def test_refusals_have_frozen_numbers(changes, account, code):
    (receipt,) = Chain().commit(register(account=account, **changes)).receipts
    assert receipt.status is ReceiptStatus.REVERT
    assert decode_registry_error(receipt.output) is RegistryErrorCode[code]


def test_revoke_supersede_and_status_at_a_height():
    chain = Chain()
    newer = b"\x09" * 32
    chain.commit(register())
    chain.commit(register(newer, 1))
    chain.commit(registry_call(encode_supersede(ANCHOR, newer), 2))
    chain.commit(registry_call(encode_revoke(newer, RevokeReason.CORRECTED), 3))
    assert record_of(chain).state is AnchorState.SUPERSEDED
    assert record_of(chain).superseded_by == newer
    assert record_of(chain, newer).reason == RevokeReason.CORRECTED

    def status_at(anchor, height):
        data = hash_function("getStatusAt").encode_call(1, anchor, height)
        template = build_unsigned(bytes(20), HASH_REGISTRY_ADDRESS, data)
        outcome = call(chain.ledger, kit.context(9), template)
        return AnchorState(int.from_bytes(outcome.output, "big")).name

    assert [status_at(ANCHOR, h) for h in (0, 1, 2, 3)] == [
        "NONE",
        "ACTIVE",
        "ACTIVE",
        "SUPERSEDED",
    ]
    assert [status_at(newer, h) for h in (1, 2, 3, 4)] == ["NONE", "ACTIVE", "ACTIVE", "REVOKED"]
    executed = chain.commit(
        registry_call(encode_revoke(newer, RevokeReason.OTHER), 4),
        registry_call(encode_revoke(ANCHOR, RevokeReason.OTHER), 5),
        registry_call(encode_revoke(b"\x55" * 32, RevokeReason.OTHER), 6),
    )
    codes = [decode_registry_error(item.output).name for item in executed.receipts]
    assert codes == ["ALREADY_REVOKED", "TERMINAL_STATE", "NOT_FOUND"]


def test_transactions_must_match_the_root():
    with pytest.raises(BadInput, match="root"):
        Chain().execute(signed(), root=b"\x01" * 32)


def test_a_wrong_nonce_is_a_failed_receipt_without_effect():
    executed = Chain().commit(signed(nonce=3), signed(nonce=0))
    assert [item.status for item in executed.receipts] == [
        ReceiptStatus.NONCE_CHECK_FAIL,
        ReceiptStatus.SUCCESS,
    ]


def test_failed_transactions_use_nonce_and_gas():
    chain = Chain()
    broken = signed(to=None, data=b"\xfe", nonce=0, gas=100_000)
    poor = signed(value=5, nonce=1)
    executed = chain.commit(broken, poor, signed(nonce=2))
    statuses = [item.status for item in executed.receipts]
    assert statuses == [
        ReceiptStatus.BAD_INSTRUCTION,
        ReceiptStatus.NOT_ENOUGH_CASH,
        ReceiptStatus.SUCCESS,
    ]
    assert executed.receipts[0].gas_used == 100_000
    assert chain.ledger.head.failed_tx_count == 2


def test_estimates_are_the_least_gas_that_works():
    chain = Chain()
    template = register(nonce=0)
    gas, outcome = estimate_gas(chain.ledger, kit.context(), template, 10**7)
    assert outcome.status is ReceiptStatus.SUCCESS
    for limit, expected in ((gas, ReceiptStatus.SUCCESS), (gas - 1, ReceiptStatus.OUT_OF_GAS)):
        ran = Evm(chain.ledger, kit.context()).execute(template._replace(gas=limit))
        assert (ran.status is ReceiptStatus.SUCCESS) is (expected is ReceiptStatus.SUCCESS)


def test_state_root_ignores_order_and_commits_to_history():
    one = {(b"a", b"1"): b"x", (b"b", b"2"): b"y"}
    two = dict(reversed(one.items()))
    assert compute_state_root(bytes(32), one) == compute_state_root(bytes(32), two)
    assert compute_state_root(b"\1" * 32, one) != compute_state_root(bytes(32), one)
    assert compute_state_root(b"\1" * 32, {}) == b"\1" * 32
    moved = {(b"ab", b"1"): b"x", (b"b", b"2"): b"y"}
    assert compute_state_root(bytes(32), moved) != compute_state_root(bytes(32), one)


def test_layers():
    below = LayeredState(EmptyState(), {(b"a", b"1"): b"x", (b"a", b"2"): b"y"})
    above = LayeredState(below, {(b"a", b"1"): b""})
    assert (above.get(b"a", b"1"), above.get(b"a", b"2"), above.get(b"a", b"3")) == (b"", b"y", b"")


# --- the same transactions through py-evm's own chain ----------------------------------------

PROGRAMS = {
    "store": "602a600055602b600155600060005560006000f3",
    "clear twice": "6001600055600060005560016000556000600055",
    "revert": "602a60005560206000fd",
    "log": "60ff60005260206000a060ff60206000a1",
    "create": "69600160005560006000f3600052600a60166000f05060006000f3",
    "self call": "600060006000600060003061ffff f1".replace(" ", ""),
    "transient": "602a60005d60005c600155",
    "self destruct": "33ff",
    "infinite": "5b600056",
    "bad jump": "600456",
    "underflow": "01",
    "precompiles": "6020600060206000600060025af160005160005560206000602060006000600461fffff1",
}


@pytest.fixture(scope="module")
def reference():
    """A py-evm chain in memory whose blocks have the same transactions."""
    base = MiningChain.configure(
        "Reference", vm_configuration=((0, CancunVM),), chain_id=kit.CHAIN_ID
    )
    rich = {
        "balance": 10**30, "nonce": 0, "code": b"", "storage": {},
    }  # fmt: skip
    params = {
        "coinbase": constants.ZERO_ADDRESS, "difficulty": 0, "extra_data": b"",
        "gas_limit": 30_000_000, "mix_hash": bytes(32), "nonce": bytes(8), "timestamp": 1,
        "base_fee_per_gas": 0, "withdrawals_root": constants.BLANK_ROOT_HASH,
        "parent_beacon_block_root": bytes(32), "blob_gas_used": 0, "excess_blob_gas": 0,
    }  # fmt: skip
    address = keys.PrivateKey(b"\x01" * 32).public_key.to_canonical_address()
    return base, params, {address: rich}


@pytest.mark.filterwarnings("ignore:SELFDESTRUCT")  # raised by the reference
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_run_as_in_py_evm(name, reference):
    base, params, state = reference
    code = bytes.fromhex(PROGRAMS[name])
    init = bytes([0x60, len(code), 0x80, 0x60, 0x0B, 0x60, 0x00, 0x39, 0x60, 0x00, 0xF3]) + code
    chain = base.from_genesis(AtomicDB(), params, state)
    vm = chain.get_vm()
    ours = Evm(EmptyState(), kit.context(1, vm.get_block().header.timestamp))
    target = None
    for nonce in range(3):
        data, to = (init, None) if nonce == 0 else (b"", target)
        transaction = signed(to=to, data=data, nonce=nonce, gas=400_000)
        theirs = vm.get_transaction_builder().decode(transaction.raw)
        computation = vm.state.apply_transaction(theirs)
        vm.state.lock_changes()
        outcome = ours.execute(decode_transaction(transaction.raw))
        assert (outcome.status is ReceiptStatus.SUCCESS) == computation.is_success, name
        used = theirs.gas - computation.get_gas_remaining()
        refund = min(computation.get_gas_refund(), used // 5)
        assert outcome.gas_used == used - refund, name
        assert outcome.output == computation.output
        assert len(outcome.logs) == len(computation.get_log_entries())
        if nonce == 0:
            target = outcome.contract_address
            assert target == computation.msg.storage_address
        for slot in range(3):
            assert ours._accounts.get_storage(target, slot) == vm.state.get_storage(target, slot)


def test_the_registry_uses_the_same_gas_as_in_py_evm(reference):
    base, params, state = reference
    vm = base.from_genesis(AtomicDB(), params, state).get_vm()
    ours = Evm(EmptyState(), kit.context(1, vm.get_block().header.timestamp))
    artifact = load_artifact("OrgRegistry")
    deploy = artifact.encode_deploy(("address",), (ACCOUNT.address,))
    admit = artifact.functions["admitOrg"].encode_call(5, b"\1" * 32, 1, 7)
    target = None
    for nonce, data in enumerate((deploy, admit, admit)):
        transaction = signed(to=target, data=data, nonce=nonce, gas=4_000_000)
        theirs = vm.get_transaction_builder().decode(transaction.raw)
        computation = vm.state.apply_transaction(theirs)
        vm.state.lock_changes()
        outcome = ours.execute(transaction)
        target = target or outcome.contract_address
        used = theirs.gas - computation.get_gas_remaining()
        assert outcome.gas_used == used - min(computation.get_gas_refund(), used // 5)
        assert outcome.output == computation.output
        assert (outcome.status is ReceiptStatus.SUCCESS) == computation.is_success
