"""Artifacts equal the compiled sources, and bindings match the artifacts."""

import shutil
import subprocess
import sys

import pytest

from lowu.contracts.abi import load_artifact
from lowu.contracts.registry import RegistryErrorCode, Role, decode_registry_error


@pytest.mark.timeout(240)
def test_artifacts_are_what_the_sources_compile_to(tmp_path):
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("npm is not installed: the contracts cannot be recompiled")
    install = [
        "npm",
        "install",
        "--no-audit",
        "--no-fund",
        "--prefix",
        str(tmp_path),
        "solc@0.8.11",
    ]
    done = subprocess.run(install, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode != 0:
        pytest.skip(f"npm could not install solc: {done.stderr.strip()[-200:]}")
    check = [sys.executable, "-m", "lowu.contracts.compile", str(tmp_path), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


FROZEN = {
    "OrgRegistry": {
        "accredit": "0cfd6e32",
        "addKey": "5c17f08d",
        "admitOrg": "d38d841f",
        "deprecateSchema": "dd5ef318",
        "disaccredit": "03f7e2cd",
        "pauseSchema": "c33151ad",
        "registerSchema": "f599c109",
        "renounceGovernor": "e026049c",
        "reportCompromised": "e720dbf6",
        "retireKey": "7a2358a7",
        "setAccount": "f136258e",
        "setOrgStatus": "ae33a0fc",
        "setQuota": "46e67eeb",
        "setRoute": "0644c883",
        "isRouted": "8bb88c9d",
        "claimAccount": "4c39bead",
        "getAccreditations": "82ab7b9a",
        "suspendOrg": "36ec92e9",
    },
    "HashRegistry": {
        "eraseLeaf": "d2d73620",
        "getLeafErasureReceipt": "aeae90cb",
        "getLeafStatus": "4eed6fa6",
        "getRecord": "f00a30b2",
        "getStatusAt": "6862585b",
        "markErased": "3f38e210",
        "registerAnchor": "730e9e1a",
        "registerBatch": "a18471b7",
        "reinstate": "89099a63",
        "revoke": "806b2ee9",
        "revokeLeaf": "a34a16bc",
        "supersede": "f13cb8cd",
        "suspend": "b1c4235d",
        "witness": "b5722907",
    },
    "ConsentLog": {"grant": "be40e66b", "isLive": "fddb1bf4", "withdraw": "f045506f"},
    "VerificationLog": {"consume": "542e6d6e", "getConsumption": "8998a65d"},
    "Consensus": {
        "addObserver": "2800efc0",
        "addSealer": "35916856",
        "remove": "80599e4b",
        "setWeight": "ce6fa5c5",
    },
    "Governance": {"propose": "6d51dfa4", "setWeight": "166b6000", "vote": "c9d27afe"},
}
SIZE_MAX = 24_576
"""Most bytes of a contract's code (EIP-170)."""


@pytest.mark.parametrize("name", FROZEN)
def test_calls_of_the_frozen_interface(name):
    functions = load_artifact(name).functions
    assert {item: functions[item].selector.hex() for item in FROZEN[name]} == FROZEN[name]
    assert len(load_artifact(name).bytecode) < SIZE_MAX


def test_events_of_the_registry():
    assert load_artifact("HashRegistry").events.keys() == {
        "AnchorActivated",
        "AnchorErased",
        "AnchorRegistered",
        "AnchorReinstated",
        "AnchorRevoked",
        "AnchorSuperseded",
        "AnchorSuspended",
        "BatchRegistered",
        "LeafErased",
        "LeafRevoked",
        "Witnessed",
    }
    assert int(Role.GOVERNOR) == 64


def test_errors_are_decoded_or_none():
    from lowu.contracts.registry import ERROR_SELECTOR

    data = ERROR_SELECTOR + (3001).to_bytes(32, "big")
    assert decode_registry_error(data) is RegistryErrorCode.ALREADY_REGISTERED_CONFLICT
    for bad in (b"", b"\1\2\3\4", ERROR_SELECTOR, ERROR_SELECTOR + (7).to_bytes(32, "big")):
        assert decode_registry_error(bad) is None
