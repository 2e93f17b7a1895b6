"""Make the project's virtual environment; `scripts/environment` runs this if it is missing or old.

The first run makes it, and others wait. Its stamp is written last: an interrupted run leaves none,
and the next run starts over. Only the standard library is used.

    python3 -I scripts/make_environment.py ROOT VENV INPUTS
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

ENVIRONMENT_EXIT = 3
INTERRUPTED_EXIT = 130
PIP = ("-I", "-m", "pip", "--quiet", "--disable-pip-version-check", "install")
NOT_WRITABLE = """\
error: {venv} cannot be made ({reason}).
       Set LOWU_VENV to a folder that you may write to, and try again; for instance:
       export LOWU_VENV="$HOME/.cache/lowu-venv\""""
NOT_INSTALLED = """\
error: the locked packages could not be installed; see pip's messages above.
       Is the package index reachable? Nothing is compiled: each package needs a wheel."""


class Failed(Exception):
    """The environment cannot be made; the message says why and what to do."""


def take_lock(venv: Path) -> int | None:
    """Return the descriptor that locks the environment for this process until it exits.

    None if the file system has no locks: then two first runs at once are not kept apart.
    """
    folder = os.open(venv, os.O_RDONLY)  # the folder itself: it outlives everything in it
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting for another run to make the virtual environment ...")
        fcntl.flock(folder, fcntl.LOCK_EX)
    except OSError:
        os.close(folder)
        return None
    return folder


def say(text: str) -> None:
    """Show a step."""
    print(f"  {text}", file=sys.stderr, flush=True)


def read_version(python: Path) -> str:
    """Return a Python's version without the patch level: ``Python 3.14``."""
    try:
        done = subprocess.run([python, "-V"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.decode().strip().rpartition(".")[0]


def make(root: Path, venv: Path) -> None:
    """Make the environment, whatever is in its folder now."""
    python = venv / "bin" / "python"
    lock = root / "requirements.lock"
    if subprocess.run(
        [sys.executable, "-I", "-m", "venv", "--clear", venv], check=False
    ).returncode:
        raise Failed(f"error: {sys.executable} -m venv failed; see its messages above.")
    packages = ("--only-binary", ":all:", "--require-hashes", "-r", lock)
    project = ("--no-deps", "--no-build-isolation", "-e", root)
    for arguments in (packages, project):
        # All output of pip goes to stderr: stdout is reserved for the caller's result.
        command = [python, *PIP, *arguments]
        if subprocess.run(command, stdout=sys.stderr.fileno(), check=False).returncode:
            raise Failed(NOT_INSTALLED)
    spell_paths(root, venv)


def spell_paths(root: Path, venv: Path) -> None:
    """Give Python the project's folder by its bytes.

    Since 3.13 it reads paths as UTF-8; in a locale with another encoding it would not find a folder
    with a Chinese name.
    """
    for file in venv.glob("lib/python3*/site-packages/_lowu.pth"):
        spelled = os.fsencode(root / "scripts").hex()
        line = f"import os, sys; sys.path.append(os.fsdecode(bytes.fromhex('{spelled}')))\n"
        file.write_text(line, encoding="ascii")


def main() -> int:
    """Make the environment unless another run just did; return the exit code."""
    root, venv, inputs = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    stamp = venv / "lowu-stamp"
    wanted = f"{inputs} Python {sys.version_info.major}.{sys.version_info.minor}"
    try:
        venv.mkdir(parents=True, exist_ok=True)
        lock = take_lock(venv)
        is_made = stamp.is_file() and stamp.read_text(encoding="utf-8").strip() == wanted
        if not is_made or f"{inputs} {read_version(venv / 'bin' / 'python')}" != wanted:
            if not os.access(venv, os.W_OK):
                raise PermissionError(13, "it belongs to another user")
            say("making the virtual environment (once, about half a minute) ...")
            stamp.unlink(missing_ok=True)
            make(root, venv)
            stamp.write_text(wanted + "\n", encoding="utf-8")
        if lock is not None:
            os.close(lock)
    except OSError as error:
        reason = error.strerror or str(error)
        print(NOT_WRITABLE.format(venv=venv, reason=reason), file=sys.stderr)
        return ENVIRONMENT_EXIT
    except Failed as error:
        print(error, file=sys.stderr)
        return ENVIRONMENT_EXIT
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT
    return 0


if __name__ == "__main__":
    sys.exit(main())
