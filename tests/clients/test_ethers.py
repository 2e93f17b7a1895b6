"""Unmodified ethers 6, where npm is present."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ARTIFACT = HERE.parents[1] / "contracts" / "artifacts" / "OrgRegistry.json"


@pytest.mark.timeout(240)
def test_ethers(shared, tmp_path):
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("npm is not on this machine: ethers cannot be installed")
    install = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(tmp_path), "ethers@6"]
    done = subprocess.run(install, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode != 0:
        pytest.skip(f"npm could not install ethers: {done.stderr.strip()[-200:]}")
    script = ["node", str(HERE / "ethers_script.mjs"), shared.url, str(ARTIFACT), str(tmp_path)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result == {"status": 1, "roles": 7, "logs": 1, "code": 3005, "transactions": 1}
