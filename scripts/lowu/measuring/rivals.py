"""Systems that Lowu is compared with: anvil (one process, no consensus) and eth-tester (py-evm).

Both start from Lowu's own genesis state, so that the same signed registrations run on the same
contracts. They are not dependencies: anvil comes from the PATH or from npm, eth-tester from pip.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from lowu.node.client import ClientError, RpcClient
from lowu.node.errors import ConfigError, NodeError
from lowu.node.execution.account_db import decode_account
from lowu.node.execution.flat_state import TABLE_ACCOUNT, TABLE_CODE, TABLE_STORAGE, WriteSet
from lowu.node.execution.genesis import build_genesis
from lowu.node.genesis_config import GenesisConfig
from lowu.node.topology.plan import HOST
from lowu.output import Progress

ANVIL_PACKAGE = "@foundry-rs/anvil@1.7.1"
NPM_S = 180
START_S = 20.0
GAS_LIMIT = 10**10
"""Of anvil's blocks: so high that it does not limit them."""
RIVALS = ("anvil", "eth-tester")


@dataclass(frozen=True, slots=True)
class Mode:
    """A mining mode of anvil, and how load is sent to it."""

    name: str
    block_s: float
    """Time between blocks; 0 mines each transaction at once."""
    connections: int
    """Per issuer. When it mines at once, anvil drops transactions that arrive out of order."""
    in_flight_max: int


ANVIL_MODES = (
    Mode("instant", 0.0, 1, 300),
    Mode("0.2 s", 0.2, 8, 20_000),
    Mode("1 s", 1.0, 8, 20_000),
)


@dataclass(frozen=True, slots=True)
class Rival:
    """A running server."""

    url: str
    pid: int
    version: str


def parse_rivals(text: str) -> list[str]:
    """Return the names in ``anvil,eth-tester``; `ConfigError` for an unknown one."""
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in RIVALS:
            raise ConfigError(f"--against {name}: choose from {', '.join(RIVALS)}")
    return names


# --- state ------------------------------------------------------------------------------------


def list_accounts(writes: WriteSet) -> dict[bytes, dict[str, Any]]:
    """Return the accounts of a state: nonce, balance, code and storage, as numbers and bytes."""
    found: dict[bytes, dict[str, Any]] = {}
    for (table, key), value in writes.items():
        if table == TABLE_ACCOUNT:
            nonce, balance, code_hash = decode_account(value)
            code = writes.get((TABLE_CODE, code_hash), b"")
            found[key] = {"nonce": nonce, "balance": balance, "code": code, "storage": {}}
    for (table, key), value in writes.items():
        if table == TABLE_STORAGE:
            slots = found[key[:20]]["storage"]
            slots[int.from_bytes(key[20:], "big")] = int.from_bytes(value, "big")
    return found


def _genesis_file(genesis: GenesisConfig) -> str:
    """Return a genesis in geth's format, which anvil reads."""
    forks = {
        f"{name}Block": 0
        for name in (
            "homestead", "eip150", "eip155", "eip158", "byzantium", "constantinople",
            "petersburg", "istanbul", "berlin", "london",
        )
    }  # fmt: skip
    alloc = {
        "0x" + address.hex(): {
            "nonce": hex(item["nonce"]),
            "balance": hex(item["balance"]),
            "code": "0x" + item["code"].hex(),
            "storage": {
                f"0x{slot:064x}": f"0x{value:064x}" for slot, value in item["storage"].items()
            },
        }
        for address, item in list_accounts(build_genesis(genesis).writes).items()
    }
    return json.dumps(
        {
            "config": {"chainId": genesis.web3_chain_id, **forks},
            "alloc": alloc,
            "gasLimit": hex(GAS_LIMIT),
            "difficulty": "0x0",
            "timestamp": hex(genesis.timestamp_ms // 1000),
        }
    )


# --- anvil ------------------------------------------------------------------------------------


def find_anvil(progress: Progress) -> Path | None:
    """Return anvil's program: from the PATH, or fetched once with npm; None if there is none."""
    found = shutil.which("anvil")
    if found is not None:
        return Path(found)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lowu" / "anvil"
    if (program := _installed(cache)) is not None:
        return program
    npm = shutil.which("npm")
    if npm is None:
        return None
    progress(f"fetching {ANVIL_PACKAGE} with npm (only the first time)")
    cache.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(cache), ANVIL_PACKAGE]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", timeout=NPM_S, check=False
        )
    except subprocess.TimeoutExpired:
        progress(f"npm did not fetch {ANVIL_PACKAGE} within {NPM_S} s")
        return None
    program = _installed(cache)
    if program is None:
        progress(f"npm could not fetch {ANVIL_PACKAGE}: {done.stderr.strip()[-500:]}")
    return program


def _installed(cache: Path) -> Path | None:
    """Return the program itself, not npm's wrapper, whose CPU time would be counted too."""
    found = sorted((cache / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil"))
    return found[0] if found else None


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_anvil(program: Path, genesis: GenesisConfig | None, block_s: float) -> Iterator[Rival]:
    """Run anvil on Lowu's genesis, or as it comes; `block_s` 0 mines each transaction at once."""
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="lowu-anvil-") as folder:
        command = [str(program), "--silent", "--host", HOST, "--port", str(port)]
        if genesis is not None:
            file = Path(folder) / "genesis.json"
            file.write_text(_genesis_file(genesis), encoding="utf-8")
            command += [
                "--init", str(file), "--chain-id", str(genesis.web3_chain_id), "--accounts", "1",
                "--order", "fifo", "--gas-limit", str(GAS_LIMIT), "--gas-price", "0",
                "--block-base-fee-per-gas", "0", "--disable-min-priority-fee",
                "--hardfork", "cancun",
            ]  # fmt: skip
        if block_s:
            command += ["--block-time", str(block_s)]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # It writes gigabytes of old states below its home, and leaves them there.
                env={**os.environ, "HOME": folder},
            )
        try:
            url = f"http://{HOST}:{port}"
            version = trio.run(_ask_version, url, process)
            if version is None:
                text = (
                    (Path(folder) / "log")
                    .read_text(encoding="utf-8", errors="replace")
                    .strip()[-500:]
                )
                raise NodeError(f"anvil did not start: {text}")
            yield Rival(url, process.pid, version)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # a wrapper script, too
            process.wait()


async def _ask_version(url: str, process: subprocess.Popen[bytes]) -> str | None:
    """Return a server's version once it answers; None if it never does."""
    deadline = time.monotonic() + START_S
    async with RpcClient(url) as client:
        while True:
            try:
                version: str = await client.call("web3_clientVersion")
            except ClientError:
                if process.poll() is not None or time.monotonic() > deadline:
                    return None
                await trio.sleep(0.02)
            else:
                return version


# --- eth-tester -------------------------------------------------------------------------------


def is_eth_tester_installed() -> bool:
    """Whether eth-tester can be imported."""
    return importlib.util.find_spec("eth_tester") is not None


def build_eth_tester(genesis: GenesisConfig) -> Any:
    """Return an eth-tester on Lowu's genesis, which mines each transaction at once."""
    from eth_tester import EthereumTester, PyEVMBackend
    from eth_tester.backends.pyevm.main import get_default_genesis_params

    state = list_accounts(build_genesis(genesis).writes)
    parameters = get_default_genesis_params()
    parameters["base_fee_per_gas"] = 0
    parameters["timestamp"] = genesis.timestamp_ms // 1000
    backend = PyEVMBackend(genesis_parameters=parameters, genesis_state=state)
    type(backend.chain).chain_id = genesis.web3_chain_id
    return EthereumTester(backend)
