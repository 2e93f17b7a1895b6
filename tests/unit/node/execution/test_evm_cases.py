"""Cases in which both engines were wrong in the same way, and memory that execution keeps.

Two engines that share code share its bugs: the expected values are from the specification and the
official state tests.
"""

import gc
import tracemalloc
from dataclasses import replace

import pytest

from lowu.node.chain.receipt import ReceiptStatus
from lowu.node.chain.transaction import build_unsigned
from lowu.node.config import BLOCK_GAS_MAX, Engine
from lowu.node.execution.evm import Evm
from lowu.node.execution.executor import call
from lowu.node.execution.flat_state import EmptyState
from lowu.node.simulation.evm.differential import CONTEXT, state_of
from lowu.node.simulation.evm.programs import ADDRESSES, SENDER, Program
from lowu.node.simulation.virtual_network import open_virtual
from lowu.node.simulation.virtual_time import run_virtual
from lowu.testing.networks import load_plan
from tests.unit import node_kit as kit

ENGINES = [Engine.COMPILED, Engine.INTERPRETED]


def send(engine, **fields):
    evm = Evm(EmptyState(), replace(kit.context(), engine=engine))
    return evm.execute(kit.signed(**fields))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "code",
    [
        "60ef5f5360015ff3",  # begins with 0xEF (EIP-3541)
        "6160015ff3",  # 24,577 bytes (EIP-170)
        "6130005ff3",  # too little gas to deposit the code (EIP-2)
    ],
)
def test_n_e3_a_creation_whose_code_is_refused_burns_all_gas(engine, code):
    outcome = send(engine, to=None, data="0x" + code, gas=1_000_000)
    assert outcome.gas_used == 1_000_000 and outcome.status is not ReceiptStatus.SUCCESS
    assert (outcome.contract_address, outcome.output) == (b"", b"")


@pytest.mark.parametrize("engine", ENGINES)
def test_n_e1_a_power_of_nothing_is_one(engine):
    """Base and exponent of length 0, modulus 7: 0⁰ = 1."""
    data = bytes(32) + bytes(32) + (1).to_bytes(32, "big") + b"\x07"
    template = build_unsigned(SENDER, bytes(19) + b"\x05", data)
    assert call(EmptyState(), replace(CONTEXT, engine=engine), template).output == b"\x01"


@pytest.mark.parametrize("engine", ENGINES)
def test_eip_7610_storage_alone_makes_a_collision(engine):
    """No Lowu chain has such an account; the official state tests do."""

    class Foreign(EmptyState):
        def has_storage(self, address):
            return True

    evm = Evm(Foreign(), replace(CONTEXT, engine=engine))
    outcome = evm.execute(kit.signed(to=None, data="0x5ff3", gas=100_000))
    assert outcome.status is ReceiptStatus.CONTRACT_ADDRESS_ALREADY_USED
    assert outcome.gas_used == 100_000


def test_an_account_of_a_chain_has_no_storage_without_code():
    """So a chain need not check: creating and destroying an account leaves no slot."""
    # CREATE of code that writes a slot and destroys itself
    inner = bytes.fromhex("60015f5530ff")
    code = bytes.fromhex("65") + inner + bytes.fromhex("5f52600660 1a5ff000".replace(" ", ""))
    evm = Evm(state_of(Program((code, b"", b""), (), b"", 0, 0)), CONTEXT)
    assert evm.call(SENDER, ADDRESSES[0], 0, b"", 200_000).status is ReceiptStatus.SUCCESS
    assert {table for table, _ in evm.writes()} == {b"a"}


# --- clients' calls (N-E4, N-R3, N-R9, N-R12) -----------------------------------------------------

GASLIMIT, NUMBER = "0x455f5260205ff3", "0x435f5260205ff3"


def test_calls_see_the_head_and_pay_like_transactions():
    async def play():
        async with (
            open_virtual(load_plan("dev-4"), 1) as network,
            network.client(network.plan.nodes[0]) as client,
        ):
            block = await client.call("eth_getBlockByNumber", "latest", False)
            height = int(block["number"], 16)

            async def ask(data, tag="latest", **fields):
                return int(await client.call("eth_call", {"data": data, **fields}, tag), 16)

            assert await ask(GASLIMIT) == int(block["gasLimit"], 16) == BLOCK_GAS_MAX
            assert await ask(NUMBER) == height
            assert await ask(NUMBER, "pending") == height + 1
            with pytest.raises(Exception, match="intrinsic gas too low"):
                await ask(NUMBER, gas="0x1")
            message = {"to": "0x" + "ab" * 20}
            plain = int(await client.call("eth_estimateGas", message), 16)
            listed = message | {"accessList": [{"address": "0x" + "cd" * 20, "storageKeys": []}]}
            assert plain == 21_000
            assert int(await client.call("eth_estimateGas", listed), 16) == 21_000 + 2_400

    run_virtual(1, play)


# --- memory (N-F2) --------------------------------------------------------------------------------

INPUT_MB = bytes.fromhex("6001620fffe0525b5f5f620fffff5f60045afa50600756")
"""Endless STATICCALLs of the identity precompile with a megabyte of input."""
FAILING = (
    bytes.fromhex("6001620fffe0525b5f5f620fffff5f73") + ADDRESSES[1] + bytes.fromhex("5afa50600756")
)
"""The same, of a contract that reverts."""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("code", [INPUT_MB, FAILING], ids=["identity", "failing"])
def test_n_f2_frames_are_let_go_of_when_they_return(engine, code):
    """Twenty calls held 6 GB of callers' input and callees' memory."""
    program = Program((code, bytes.fromhex("5f5ffd"), b""), (), b"", 0, 0)
    gas = 2_400_000
    tracemalloc.start()
    gc.disable()  # memory must be freed without the collector
    try:
        evm = Evm(state_of(program), replace(CONTEXT, engine=engine))
        outcome = evm.call(SENDER, ADDRESSES[0], 0, b"", gas)
        left, peak = tracemalloc.get_traced_memory()
    finally:
        gc.enable()
        tracemalloc.stop()
    assert outcome.status is ReceiptStatus.OUT_OF_GAS
    assert peak < 8_000_000
    assert left < 1_000_000
