"""Runs the simulator as a process, for its tests."""

import os
import subprocess
import sys


def simulate(*arguments):
    """Run ``lowu simulate``; return the finished process with its output as text."""
    return subprocess.run(
        [sys.executable, "-m", "lowu", "simulate", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def output_under_hash_seeds(code):
    """Run Python code under two hash seeds; return its output, which must be the same."""
    (output,) = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "4711")
    }
    return output
