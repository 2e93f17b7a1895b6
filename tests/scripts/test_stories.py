"""Runs the text stories; see story.py for their format."""

import os
from pathlib import Path

import pytest

from tests.scripts.story import Theatre

FOLDER = Path(__file__).parent


def blocks(text):
    """Yield (comment lines, command, expected) of a story."""
    for part in text.strip().split("\n\n"):
        lines = part.splitlines()
        comments = [line for line in lines if line.startswith("#")]
        rest = [line for line in lines if not line.startswith("#")]
        command = rest[0] if rest else None
        expected = "\n".join(rest[2:]) if rest else ""
        yield comments, command, expected


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_story(path):
    theatre, written = Theatre(), []
    for comments, command, expected in blocks(path.read_text()):
        if command is None:
            written.append("\n".join(comments))
            continue
        got = theatre.run(command)
        written.append("\n".join([*comments, command, "----", got]))
        if not os.environ.get("LOWU_REWRITE"):
            assert got == expected, f"{path.name}: {command}"
    if os.environ.get("LOWU_REWRITE"):
        path.write_text("\n\n".join(written) + "\n")
