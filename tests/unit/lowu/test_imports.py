"""Every module can be imported on every Python, without a warning."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("consensus", "contracts", "node", "institutions", "experiments", "scripts/lowu")


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("lowu", *parts)).replace("lowu.scripts.lowu.", "lowu.")


def test_every_module_can_be_imported():
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    names = [
        "lowu."
        + ".".join(path.relative_to(ROOT).with_suffix("").parts).removeprefix("scripts.lowu.")
        for path in files
        if path.name not in ("__init__.py", "__main__.py")
    ]
    assert len(names) > 200
    code = f"import importlib\nfor name in {sorted(names)}: importlib.import_module(name)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
