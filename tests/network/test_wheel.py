"""The wheel, in an environment that has nothing of the checkout, beside modules of like names."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.network.kit import wait_until_level

ROOT = Path(__file__).resolve().parents[2]
THEIRS = "raise SystemExit('a module of the user was taken for one of Lowu: ' + __name__)"
TEST = """
import contracts, node


def test_a_report_goes_across(lowu_virtual):
    from lowu import SAMPLES, Verdict

    async def play(actors, faults):
        document = SAMPLES["cn.ecr/1"](1, actors.now_s())
        issued = await actors.issue("szcredit", document, "acme-sz", "nova")
        return await actors.hand_over("acme-sz", issued, document, "nova")

    assert lowu_virtual.play(play).verdict is Verdict.ACCEPT
    assert (node.MINE, contracts.MINE) == (1, 2)
"""


def run(*command, cwd):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=kept, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An environment with the wheel, and with the packages it needs but no checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-I", "-m", "pip", "--quiet", "--disable-pip-version-check")
    build = ("wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, ROOT)
    run(*pip, *build, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", symlinks=True)
    python = folder / "env" / "bin" / "python"
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    # A folder that a .pth names is searched; the .pth files in it, as the checkout's, are not.
    (site,) = (folder / "env" / "lib").glob("python3*/site-packages")
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = run(python, "-I", "-c", "import lowu.node; print(lowu.node.__file__)", cwd=folder)
    assert Path(where.strip()).is_relative_to(site)
    return folder / "env" / "bin"


def test_it_brings_one_name_only(installed):
    (site,) = (installed.parent / "lib").glob("python3*/site-packages")
    names = {path.name for path in site.iterdir() if not path.name.endswith((".pth", ".dist-info"))}
    assert names <= {"lowu", "pip", "__pycache__"}
    assert (site / "lowu" / "py.typed").exists()
    assert (site / "lowu" / "contracts" / "artifacts" / "HashRegistry.json").exists()


def test_the_command_starts_a_network(installed, tmp_path):
    for name in ("node", "contracts", "consensus"):
        (tmp_path / f"{name}.py").write_text(THEIRS)
    lowu = installed / "lowu"
    try:
        up = json.loads(run(lowu, "up", "pilot-2", "--json", cwd=tmp_path))
        assert up["ok"]
        wait_until_level([node["url"] for node in up["nodes"]])
        assert "node0" in run(lowu, "status", cwd=tmp_path)
    finally:
        run(lowu, "down", cwd=tmp_path)


def test_the_plugin_runs_beside_modules_of_like_names(installed, tmp_path):
    (tmp_path / "node.py").write_text("MINE = 1")
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "__init__.py").write_text("MINE = 2")
    (tmp_path / "test_it.py").write_text(TEST)
    told = run(installed / "python", "-m", "pytest", "-q", "-p", "no:randomly", cwd=tmp_path)
    assert "1 passed" in told
