"""The runner of the official state tests, checked against a trie library."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st
from trie.hexary import HexaryTrie

from lowu.node.crypto import keccak256
from lowu.node.execution.compiler.engine import CodeCache, WatchedCompiledComputation
from lowu.node.simulation.evm.state_tests import FormatError, run_file
from lowu.node.simulation.evm.state_trie import EMPTY_ROOT, compute_trie_root
from tests.unit.node_kit import ACCOUNT, OTHER, signed


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.binary(min_size=1, max_size=32), st.binary(min_size=1, max_size=80)))
def test_roots_are_those_of_the_trie_library(leaves):
    trie = HexaryTrie({})
    for key, value in leaves.items():
        trie[keccak256(key)] = value
    assert compute_trie_root(leaves) == trie.root_hash
    assert compute_trie_root({}) == EMPTY_ROOT


# --- the runner ----------------------------------------------------------------------------------

ADDRESS = "0x" + "c0" * 20


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    cache = CodeCache(gas_an_operation=0, join_every=1, is_watched=True)
    monkeypatch.setattr(WatchedCompiledComputation, "cache", cache)


def make_test(to=OTHER.address, price=10, code="0x", gas=100_000):
    """Return a test of one transfer of 5, whose root the trie library has computed."""
    transaction = signed(to=to, value=5, gas=gas, gasPrice=price, chainId=1)
    rich, used = 10**9, 21_000
    after = {
        ACCOUNT.address: (1, rich - 5 - used * price),
        to: (0, 5),
        ADDRESS: (0, used * (price - 7)),
    }
    trie = HexaryTrie({})
    for address, (nonce, balance) in after.items():
        account = [nonce, balance, EMPTY_ROOT, keccak256(b"")]
        trie[keccak256(bytes.fromhex(address[2:]))] = rlp.encode(account)
    return {
        "env": {
            "currentCoinbase": ADDRESS, "currentBaseFee": "0x07", "currentDifficulty": "0x0",
            "currentGasLimit": "0x989680", "currentNumber": "0x01", "currentTimestamp": "0x03e8",
        },
        "pre": {
            ACCOUNT.address: {"balance": hex(rich), "code": code, "nonce": "0x0", "storage": {}},
        },
        "post": {"Cancun": [{
            "hash": "0x" + trie.root_hash.hex(), "logs": "0x" + keccak256(b"\xc0").hex(),
            "indexes": {"data": 0, "gas": 0, "value": 0},
            "txbytes": "0x" + transaction.raw.hex(),
        }]},
    }  # fmt: skip


def run(tmp_path, test):
    path = tmp_path / "one.json"
    path.write_text(json.dumps({"transfer": test}))
    return run_file(path, tmp_path)


def test_a_test_that_comes_out_right(tmp_path):
    report = run(tmp_path, make_test())
    assert (report.subtests, report.findings, report.not_interpreted) == (1, [], 0)


def test_a_fee_that_is_wrong_by_one_is_found(tmp_path):
    test = make_test()
    test["env"]["currentBaseFee"] = "0x08"
    assert run(tmp_path, test).wrong_roots == ["one.json::transfer[0,0,0]"]


def test_logs_that_are_not_there_are_found(tmp_path):
    test = make_test()
    test["post"]["Cancun"][0]["logs"] = "0x" + bytes(32).hex()
    assert run(tmp_path, test).wrong_logs == ["one.json::transfer[0,0,0]"]


def test_a_transaction_that_must_be_refused_changes_nothing(tmp_path):
    test = make_test(code="0x00")  # EIP-3607: its sender is a contract
    report = run(tmp_path, test)
    assert report.wrong_roots and report.engine_differences == []


def test_what_has_no_place_here_is_left_out_with_its_reason(tmp_path):
    test = make_test()
    test["post"]["Cancun"][0]["txbytes"] = "0x03c0"
    assert run(tmp_path, test).excluded == [("one.json::transfer[0,0,0]", "blob transaction")]


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"a": 1}', '{"a": {"post": {"Cancun": [{}]}}}', "\xff"]
)
def test_a_file_of_something_else_is_refused_by_its_name(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(FormatError, match=r"other\.json: not a file of state tests"):
        run_file(path, tmp_path)


# --- the tests themselves ------------------------------------------------------------------------

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "state-tests-cancun.tar.xz"


@pytest.mark.skipif(not DATA.exists(), reason=f"the official state tests are missing: {DATA.name}")
@pytest.mark.timeout(300)
def test_the_official_state_tests(tmp_path):
    with tarfile.open(DATA) as archive:
        # Debian 12's Python 3.11.2 has no filters.
        filters = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(tmp_path, **filters)
    command = [sys.executable, "-P", "-m", "lowu", "state-tests", str(tmp_path), "--json"]
    command += ["--cpu", "0.1"]  # a campaign, with more time, runs the others
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    found = json.loads(done.stdout)
    assert found["findings"] == [] and done.returncode == 0
    assert found["figures"]["subtests"] > 12_000
    reasons = {item["reason"] for item in found["excluded"]}
    assert reasons <= {"blob transaction", "takes more than 0.1 s of CPU"}
