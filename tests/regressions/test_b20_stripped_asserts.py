"""B20: checks survive `python -O`."""

import subprocess
import sys


def test_invariants_are_checked_without_asserts():
    """The product has no bare assert (tests/test_tidy.py); this test runs one check."""
    code = (
        "from lowu.consensus.errors import InvariantViolation\n"
        "from lowu.consensus.message_log import MessageLog\n"
        "try:\n    MessageLog(0, 4).slot(9)\n"
        "except InvariantViolation as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True)
    assert "outside the watermarks" in done.stdout
