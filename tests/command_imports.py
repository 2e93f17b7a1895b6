"""Imports all of the project into the parent process, before it forks the first command.

It also compiles the contracts of block 0, as a supervisor does before it forks nodes, and makes the
key files of tests cheap to open: a command spends half a second on one of a user's.
"""

import gc
import importlib
import pkgutil
from pathlib import Path

import eth_account  # noqa: F401  (for key files; half a second)

import lowu
from lowu.institutions.ledger import keystore
from lowu.node.execution.genesis import build_genesis
from lowu.node.topology.plan import build_plan
from lowu.node.topology.spec import load_spec

NETWORK = Path(__file__).resolve().parents[1] / "configs" / "networks" / "seed-7.toml"

for module in pkgutil.walk_packages(lowu.__path__, "lowu."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)

keystore.SCRYPT_N = 2**12
build_genesis(build_plan(load_spec(NETWORK)).genesis)
gc.collect()
gc.freeze()
