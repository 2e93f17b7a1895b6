"""Artifacts are what the sources compile to; bindings fit them."""

import shutil
import subprocess
import sys

import pytest

from contracts.abi import load_artifact
from contracts.registry import RegistryErrorCode, Role, decode_registry_error


@pytest.mark.timeout(240)
def test_artifacts_are_what_the_sources_compile_to(tmp_path):
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("npm is not on this machine: the contracts cannot be recompiled")
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
    check = [sys.executable, "-m", "contracts.compile", str(tmp_path), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_calls_of_the_frozen_interface():
    names = load_artifact("HashRegistry").functions
    assert {"registerAnchor", "revoke", "supersede", "getRecord", "getStatusAt"} <= names.keys()
    events = load_artifact("HashRegistry").events
    assert {"AnchorRegistered", "AnchorRevoked", "AnchorSuperseded"} == events.keys()
    assert names["registerAnchor"].selector.hex() == "730e9e1a"
    assert int(Role.GOVERNOR) == 64


def test_errors_are_decoded_or_none():
    from contracts.registry import ERROR_SELECTOR

    data = ERROR_SELECTOR + (3001).to_bytes(32, "big")
    assert decode_registry_error(data) is RegistryErrorCode.ALREADY_REGISTERED_CONFLICT
    for bad in (b"", b"\1\2\3\4", ERROR_SELECTOR, ERROR_SELECTOR + (7).to_bytes(32, "big")):
        assert decode_registry_error(bad) is None
