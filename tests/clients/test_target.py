"""`lowu experiment run --target`, on a system that shares no code with Lowu."""

import json

import pytest
from click.testing import CliRunner

from lowu import cli
from lowu.measuring.rivals import find_anvil, running_anvil
from lowu.output import Progress

FEES = """\
[experiment]
name = "another system"

[load]
workload = { nothing = 1, transfer = 1, approve = 1, smallbank = 1 }
arrival = { kind = "constant", rate = 40 }
warm_up_s = 0
duration_s = 2
lag_bound_ms = 5000

[expect]
committed = 80
"""


def test_a_load_on_another_system(tmp_path):
    """Anvil as it comes: gas has a price, which an account that it has unlocked pays."""
    program = find_anvil(Progress(is_silent=True))
    if program is None:
        pytest.skip("anvil is not in the PATH, and npm could not fetch it")
    (tmp_path / "load.toml").write_text(FEES)
    command = ["experiment", "run", str(tmp_path / "load.toml"), "--out", str(tmp_path / "out")]
    with running_anvil(program, None, 0.2) as rival:
        done = CliRunner().invoke(cli.cli, [*command, "--target", rival.url, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["figures"]["committed"] == 80
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["provider"] == {
        "name": "target", "urls": [rival.url],
    }  # fmt: skip
