"""Real contracts, called at random in both EVM engines.

Takes the artifacts of npm packages (any JSON with ``abi`` and ``bytecode``), deploys those that
it can into one world, and repeatedly calls random functions with arguments of the right types:
small and huge numbers, known and unknown addresses, other contracts. The two engines run side by
side, and a difference raises `EngineMismatch`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from eth_abi.abi import encode
from eth_utils.abi import collapse_if_tuple
from eth_utils.crypto import keccak

from lowu.node.config import Engine
from lowu.node.crypto import keccak256
from lowu.node.execution.account_db import encode_account
from lowu.node.execution.evm import Evm
from lowu.node.execution.flat_state import TABLE_ACCOUNT, EmptyState, LayeredState
from lowu.node.simulation.evm.differential import CONTEXT

SENDERS = tuple(bytes([0x50 + number]) * 20 for number in range(4))
DEPLOY_GAS = 29_000_000
DEPLOY_ATTEMPTS = 6
CODE_BYTES_MIN = 400
"""Smaller contracts are libraries with internal functions only."""
NUMBERS = (0, 1, 2, 3, 10, 100, 10**6, 10**18, 2**64, 2**128 - 1, 2**255, 2**256 - 1)


@dataclass(frozen=True, slots=True)
class ContractArtifact:
    """A contract in a package."""

    name: str
    bytecode: bytes
    constructor: Sequence[Mapping[str, Any]]
    functions: tuple[Mapping[str, Any], ...]


@dataclass(slots=True)
class ContractRun:
    """Record of the contracts deployed and the calls made."""

    deployed: dict[bytes, ContractArtifact] = field(default_factory=dict)
    calls: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)


def load_artifacts(folder: Path) -> Iterator[ContractArtifact]:
    """Yield every deployable contract under a folder, each bytecode once."""
    seen: set[bytes] = set()
    for path in sorted(folder.rglob("*.json")):
        found = _read_artifact(path)
        if found is not None and found.bytecode not in seen:
            seen.add(found.bytecode)
            yield found


def _read_artifact(path: Path) -> ContractArtifact | None:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        code = raw.get("bytecode") or raw["evm"]["bytecode"]["object"]
        bytecode = bytes.fromhex(code.removeprefix("0x"))
        abi = [item for item in raw["abi"] if isinstance(item, dict)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # not an artifact, or one with unlinked libraries
    if len(bytecode) < CODE_BYTES_MIN:
        return None
    constructors = [item["inputs"] for item in abi if item.get("type") == "constructor"]
    functions = tuple(item for item in abi if item.get("type") == "function")
    return ContractArtifact(path.stem, bytecode, constructors[0] if constructors else (), functions)


class _World:
    """Contracts that know each other's addresses, in an EVM that runs both engines."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311  (repeatable, not secret)
        rich = {
            (TABLE_ACCOUNT, item): encode_account((0, 10**24, keccak256(b""))) for item in SENDERS
        }
        context = replace(CONTEXT, engine=Engine.BOTH)
        self.evm = Evm(LayeredState(EmptyState(), rich), context)
        self.run = ContractRun()

    def deploy(self, artifact: ContractArtifact) -> None:
        """Create a contract, retrying with other arguments if its constructor fails."""
        address = keccak256(artifact.name.encode() + len(self.run.deployed).to_bytes(4, "big"))[:20]
        for _ in range(DEPLOY_ATTEMPTS):
            arguments = self._arguments(artifact.constructor)
            code = artifact.bytecode + arguments
            outcome = self.evm.create_at(SENDERS[0], address, code, DEPLOY_GAS)
            if outcome.contract_address:
                self.run.deployed[address] = artifact
                return

    def call_once(self) -> None:
        """Call a random function of a random contract."""
        random = self._random
        address, artifact = random.choice(list(self.run.deployed.items()))
        if artifact.functions and random.random() > 0.03:
            function = random.choice(artifact.functions)
            types = [collapse_if_tuple(dict(item)) for item in function["inputs"]]
            selector = keccak(text=f"{function['name']}({','.join(types)})")[:4]
            data = selector + self._arguments(function["inputs"])
            is_payable = function.get("stateMutability") == "payable"
        else:
            data, is_payable = random.randbytes(random.choice((0, 3, 36))), True
        value = random.choice((0, 1, 10**18)) if is_payable and random.random() < 0.7 else 0
        gas = random.choice((30_000, 150_000, 1_000_000, 1_000_000))
        outcome = self.evm.call(random.choice(SENDERS), address, value, data, gas)
        self.run.calls += 1
        self.run.outcomes[outcome.status.name] += 1

    def _arguments(self, inputs: Sequence[Mapping[str, Any]]) -> bytes:
        types = [collapse_if_tuple(dict(item)) for item in inputs]
        return encode(types, [self._value(item) for item in types])

    def _value(self, kind: str) -> Any:
        random = self._random
        if kind.endswith("]"):
            inner, _, size = kind.rpartition("[")
            count = int(size[:-1]) if size != "]" else random.randrange(4)
            return [self._value(inner) for _ in range(count)]
        if kind.startswith("("):
            return tuple(self._value(item) for item in _split(kind[1:-1]))
        if kind == "address":
            known = [*SENDERS, *SENDERS, *self.run.deployed, bytes(20), b"\x01".rjust(20, b"\0")]
            return "0x" + random.choice(known).hex()
        if kind == "bool":
            return random.random() < 0.5
        if kind == "string":
            return random.choice(("", "a", "lowu", "x" * 40))
        if kind.startswith("bytes"):
            length = int(kind[5:]) if kind[5:] else random.choice((0, 4, 32, 70))
            return random.randbytes(length) if random.random() < 0.7 else bytes(length)
        bits = int(kind.removeprefix("u").removeprefix("int") or 256)
        number = random.choice((*NUMBERS, random.getrandbits(bits), random.randrange(1_000)))
        if kind.startswith("u"):
            return number % (1 << bits)
        return number % (1 << (bits - 1)) * random.choice((1, -1))


def _split(types: str) -> list[str]:
    """Return the members of a tuple type; brackets may nest."""
    found, depth, start = [], 0, 0
    for position, letter in enumerate(types):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            found.append(types[start:position])
            start = position + 1
    return [*found, types[start:]] if types else []


def run_contracts(artifacts: Sequence[ContractArtifact], seed: int, calls: int) -> ContractRun:
    """Deploy all artifacts into one world and call them.

    Raises:
        EngineMismatch: the engines differ.
    """
    world = _World(seed)
    for artifact in artifacts:
        world.deploy(artifact)
    for _ in range(calls if world.run.deployed else 0):
        world.call_once()
    world.evm.writes()
    return world.run
