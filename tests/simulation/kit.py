"""Runs the simulator as a process, for its tests."""

import os
import subprocess
import sys

from tests.command import run_command


def simulate(*arguments):
    """Run ``lowu simulate``; return the finished process with its output as text."""
    return run_command(["simulate", *arguments])


def output_under_another_hash_seed(code):
    """Run Python code in another process, whose hash seed is not this one's; return its output."""
    hash_seed = "1" if os.environ.get("PYTHONHASHSEED") == "4711" else "4711"
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
