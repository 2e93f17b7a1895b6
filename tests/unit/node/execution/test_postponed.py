"""A node does not import what only Prague's precompiles need, and they still work."""

import subprocess
import sys
from importlib import import_module

import pytest
from eth.precompiles import bls12_381

from lowu.node.execution.postponed import FUNCTIONS, PACKAGE, postpone_bls_precompiles

CODE = """
import sys
import lowu.node.app
assert "eth.vm.forks.prague.computation" in sys.modules
assert not [name for name in sys.modules if name.startswith("py_ecc.optimized_bls12_381")]

from types import SimpleNamespace
from eth.vm.forks.prague.computation import PRAGUE_PRECOMPILES
def run(number, data):
    message = SimpleNamespace(data=data, data_as_bytes=data)
    computation = SimpleNamespace(msg=message, output=b"")
    computation.consume_gas = lambda *arguments, **names: None
    PRAGUE_PRECOMPILES[bytes(19) + bytes([number])](computation)
    return computation.output

from py_ecc.optimized_bls12_381 import G1, G2, add, neg, normalize
def encode(point):
    numbers = [getattr(item, "coeffs", [item]) for item in normalize(point)]
    return b"".join(int(number).to_bytes(64, "big") for item in numbers for number in item)
assert run(0x0B, encode(G1) + encode(G1)) == encode(add(G1, G1))
assert run(0x0D, encode(G2) + encode(G2)) == encode(add(G2, G2))
both = encode(G1) + encode(G2) + encode(neg(G1)) + encode(G2)
assert run(0x0F, both) == bytes(31) + bytes([1])

import eth.precompiles.bls12_381.bls12_381_g1 as module
assert module.bls12_g1_add
"""


def test_tables_are_computed_when_prague_s_precompiles_are_used():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_imported_already_stays(monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, bls12_381)
    postpone_bls_precompiles()
    assert sys.modules[PACKAGE] is bls12_381


@pytest.mark.parametrize("module", FUNCTIONS)
def test_all_precompiles_of_the_package_are_there(module):
    real = import_module(f"{PACKAGE}.{module}")
    assert all(callable(getattr(real, name)) for name in FUNCTIONS[module])
