"""Tables: plain where they are piped, and never with an identifier that is folded."""

import io

import pytest

from lowu import output

COLUMNS = ("node", "address", "name")
ADDRESS = "0x" + "ab" * 20
ROWS = [("node0", ADDRESS, "深圳征信"), ("node1", ADDRESS, "two\nlines \x1b[1m")]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_piped_table_is_plain_and_aligned(capsys):
    output.print_table("Accounts", COLUMNS, ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "Accounts",
        "node   address                                     name",
        f"node0  {ADDRESS}  深圳征信",
        f"node1  {ADDRESS}  two; lines \\x1b[1m",
    ]


@pytest.mark.parametrize(
    ("width", "shown", "left"),
    [(120, "深圳征信", ""), (60, ADDRESS, "name"), (20, "0xab", "name")],
)
def test_a_narrow_terminal_leaves_columns_out(monkeypatch, width, shown, left):
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    output.print_table("Accounts", COLUMNS, ROWS)
    text = terminal.getvalue()
    assert shown in text
    words = " ".join(text.split())
    assert (f"left out for want of width: {left}" in words) is bool(left)
    assert ("深圳征信" in text) is not bool(left)
