"""Random programs and single cases run as on anvil: revm shares no code with us or py-evm."""

import json
import os
from random import Random

import pytest

from lowu.measuring.rivals import find_anvil, running_anvil
from lowu.node.chain.receipt import ReceiptStatus
from lowu.node.chain.transaction import build_unsigned, compute_intrinsic_gas
from lowu.node.crypto import keccak256
from lowu.node.execution.compiler.engine import CodeCache, CompiledComputation
from lowu.node.execution.evm import BlockContext, Evm
from lowu.node.execution.flat_state import TABLE_ACCOUNT, TABLE_STORAGE
from lowu.node.execution.machine import InterpretedComputation
from lowu.node.execution.precompiles.table import OFFICIAL_PRECOMPILES
from lowu.node.simulation.evm.differential import state_of
from lowu.node.simulation.evm.programs import ADDRESSES, BENEFICIARY, SENDER, Program, draw_program
from lowu.output import Progress
from lowu.testing.networks import load_plan
from tests.network.kit import post

PROGRAMS = int(os.environ.get("LOWU_ANVIL_PROGRAMS", "120"))
"""How many are drawn; a campaign draws thousands."""
RICH = 10**6
"""What the sender has (`state_of`)."""
GENESIS = load_plan("dev-4").genesis


class Anvil:
    """A running anvil, put back to its beginning for each program."""

    def __init__(self, url):
        self.url = url
        self._snapshot = None

    def ask(self, *calls):
        """Return the results of some calls, sent at once."""
        body = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            for number, (method, *params) in enumerate(calls)
        ]
        answers = sorted(post(self.url, json.dumps(body).encode()), key=lambda item: item["id"])
        failed = [
            (call, item["error"])
            for call, item in zip(calls, answers, strict=True)
            if "error" in item
        ]
        assert not failed, failed[0]
        return [item["result"] for item in answers]

    def prepare(self, program):
        if self._snapshot is not None:
            self.ask(("evm_revert", self._snapshot))
        (self._snapshot,) = self.ask(("evm_snapshot",))
        calls = [("anvil_impersonateAccount", text(SENDER))]
        calls += [("anvil_setBalance", text(SENDER), hex(RICH))]
        for address, code in zip(ADDRESSES, program.codes, strict=True):
            calls += [
                ("anvil_setCode", text(address), text(code)),
                ("anvil_setNonce", text(address), "0x1"),
                ("anvil_setBalance", text(address), hex(100)),
            ]
            calls += [
                ("anvil_setStorageAt", text(address), word(slot), word(value))
                for slot, value in program.storage
            ]
        self.ask(*calls)

    def run(self, program, gas):
        """Run a program as a transaction; return its receipt and its block."""
        message = {
            "from": text(SENDER), "to": text(ADDRESSES[0]), "data": text(program.data),
            "value": hex(program.value), "gas": hex(gas), "gasPrice": "0x0",
        }  # fmt: skip
        (tx_hash,) = self.ask(("eth_sendTransaction", message))
        receipt = None
        while receipt is None:  # anvil answers before it has mined
            (receipt,) = self.ask(("eth_getTransactionReceipt", tx_hash))
        (block,) = self.ask(("eth_getBlockByNumber", receipt["blockNumber"], False))
        return receipt, block

    def hash_of(self, number):
        (block,) = self.ask(("eth_getBlockByNumber", hex(number), False))
        return None if block is None else bytes.fromhex(block["hash"][2:])


def text(data):
    return "0x" + data.hex()


def word(number):
    return f"0x{number:064x}"


@pytest.fixture(scope="module")
def anvil():
    program = find_anvil(Progress(is_silent=True))
    if program is None:
        pytest.skip("anvil is not in the PATH, and npm could not fetch it")
    with running_anvil(program, GENESIS, 0) as rival:
        yield Anvil(rival.url)


@pytest.fixture(autouse=True)
def as_on_ethereum(monkeypatch):
    """With the official prices of precompiles, and code compiled at once."""
    monkeypatch.setattr(InterpretedComputation, "_precompiles", OFFICIAL_PRECOMPILES)
    cache = CodeCache(gas_an_operation=0, join_every=1)
    monkeypatch.setattr(CompiledComputation, "cache", cache)


def compare(anvil, program):
    """Hold one program's receipt and all that it wrote against anvil's."""
    template = build_unsigned(SENDER, ADDRESSES[0], program.data, value=program.value)
    gas = program.gas + compute_intrinsic_gas(template)
    anvil.prepare(program)
    receipt, block = anvil.run(program, gas)
    context = BlockContext(
        number=int(block["number"], 16),
        time_s=int(block["timestamp"], 16),
        gas_limit=int(block["gasLimit"], 16),
        chain_id=GENESIS.web3_chain_id,
        block_hash=anvil.hash_of,
        coinbase=bytes.fromhex(block["miner"][2:]),
        prev_randao=bytes.fromhex(block["mixHash"][2:]),
    )
    evm = Evm(state_of(program), context)
    outcome = evm.execute(template._replace(gas=gas))
    assert not evm.flaws
    assert int(receipt["status"], 16) == (outcome.status is ReceiptStatus.SUCCESS)
    assert int(receipt["gasUsed"], 16) == outcome.gas_used
    logs = [(item["address"], item["topics"], item["data"]) for item in receipt["logs"]]
    ours = [(text(i.address), [text(t) for t in i.topics], text(i.data)) for i in outcome.logs]
    assert logs == ours
    _compare_state(anvil, evm)


def _compare_state(anvil, evm):
    accounts = evm.accounts
    writes = evm.writes()
    touched = {key for table, key in writes if table == TABLE_ACCOUNT}
    slots = {(address, slot) for address in ADDRESSES for slot in range(4)}
    written = [key for table, key in writes if table == TABLE_STORAGE]
    slots |= {(key[:20], int.from_bytes(key[20:], "big")) for key in written}
    calls, expected = [], []
    for address in sorted({*ADDRESSES, SENDER, BENEFICIARY, *touched}):
        calls += [
            (method, text(address), "latest")
            for method in ("eth_getBalance", "eth_getTransactionCount", "eth_getCode")
        ]
        expected += [hex(accounts.get_balance(address)), hex(accounts.get_nonce(address))]
        expected.append(text(accounts.get_code(address)))
    for address, slot in sorted(slots):
        calls.append(("eth_getStorageAt", text(address), word(slot), "latest"))
        expected.append(word(accounts.get_storage(address, slot)))
    found = zip(calls, anvil.ask(*calls), expected, strict=True)
    wrong = [(call, theirs, ours) for call, theirs, ours in found if theirs != ours]
    assert not wrong, wrong[0]


@pytest.mark.timeout(0)
def test_random_programs(anvil):
    random = Random(PROGRAMS)
    run = 0
    for _ in range(PROGRAMS):
        program = draw_program(random)
        if program.value <= RICH:
            compare(anvil, program)
            run += 1
    assert run > PROGRAMS // 2


CASES = {
    "N-P0": "600a600035156000f05000",
    "a slot cleared, and gas given back": "5f5f5500",
    "a slot set and put back": "60095f5560015f5500",
    "no refund beyond a fifth": "5f5f555f6001555f6002555f600355",
    "cold and warm accounts": "61eeee315061eeee315061eeee3b5000",
    "a call with value to nobody": "5f5f5f5f600161eeee5af1",
    "memory, quadratic": "5f620fffe052",
    "initcode by the word (EIP-3860)": "6110005f5ff0",
    "too much initcode": "61c0015f5ff0",
    "code beginning with EF (EIP-3541)": "60ef5f5360015f5ff0",
    "the depth of calls": "5f5f5f5f5f305af15a5f55",
    "transient slots": "60075f5d5f5c600155",
    "MCOPY": "7f" + "ab" * 32 + "5f5260205f6007" + "5e60205f20" + "5f55",
    "BLOBBASEFEE": "4a5f55",
    "pairing of nothing": "60205f5f5f60085afa5f555f51600155",
    "a wrong point": "60015f5260205f60405f60065afa5f55",
    "powers": "60015f52600160205260016040525f5f60605f60055afa5f55",
    "BLAKE2F with a wrong length": "5f5f60d45f60095afa5f55",
    "self-destruction of an old contract": "30ff",
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_gas_and_results_of_single_cases(name, anvil):
    code = bytes.fromhex(CASES[name])
    storage = tuple((slot, 7) for slot in range(4))
    for gas in (400_000, 20_000, 2_000):
        compare(anvil, Program((code, b"", b""), storage, bytes(3), 0, gas))


def test_empty_code_has_the_hash_of_nothing(anvil):
    """EXTCODEHASH: of an account, of nobody, of an empty contract."""
    code = bytes.fromhex("303f5f5561eeee3f600155" + f"73{ADDRESSES[1].hex()}3f600255")
    compare(anvil, Program((code, b"", b""), (), b"", 0, 100_000))
    assert keccak256(b"").hex().startswith("c5d2460186f7")
