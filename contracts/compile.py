"""Compile the Solidity sources and write, or check, the committed artifacts.

    python -m lowu.contracts.compile SOLC_DIR [--check]

SOLC_DIR is a folder in which ``npm install solc@0.8.11`` was run. Only a change to a contract
needs this tool; nothing at run time needs Node.js.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SOLC_VERSION = "0.8.11"
SOURCES = ("solidity", "workloads")
"""Source folders: the registry, and contracts for benchmarks and tests only."""


def compile_sources(solc_dir: Path) -> dict[str, str]:
    """Compile all sources; return the artifact text of each contract by name."""
    folders = [str(HERE / folder) for folder in SOURCES]
    command = ["node", str(HERE / "compile.mjs"), str(solc_dir), *folders]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        raise SystemExit(f"solc failed:\n{done.stderr}")
    artifacts: dict[str, dict[str, object]] = json.loads(done.stdout)
    found = {str(value["compiler"]).partition("+")[0] for value in artifacts.values()}
    if found != {SOLC_VERSION}:
        raise SystemExit(f"solc {', '.join(sorted(found))} is installed; {SOLC_VERSION} is needed")
    return {name: json.dumps(value, indent=2) + "\n" for name, value in artifacts.items()}


def main() -> int:
    """Write the artifacts, or with --check compare them and fail if any differs."""
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    is_check = "--check" in sys.argv
    status = 0
    for name, text in compile_sources(Path(sys.argv[1]).resolve()).items():
        path = HERE / "artifacts" / f"{name}.json"
        if not is_check:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.name}")
        elif path.read_text(encoding="utf-8") != text:
            print(f"{path.name} differs from what {name}.sol compiles to", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
