"""What a person sees of a run: drawn on a terminal, lines elsewhere."""

from io import StringIO

import pytest
from rich.console import Console

from lowu.commands.experiment.live_view import BARS, LiveView, PlainView, draw_trend
from lowu.experiments.load.observed import NodeState
from lowu.experiments.load.offered.generator import GeneratorStatus


def status(at_s, due, done, recent_ms=(), lag_ms=2.0):
    return GeneratorStatus(at_s, due, done, done, 40, lag_ms, tuple(recent_ms))


def shown(view):
    console = Console(file=StringIO(), width=120)
    console.print(view.render())
    return console.file.getvalue()


def test_a_terminal_shows_rates_percentiles_nodes_and_what_happened():
    view = LiveView(Console(file=StringIO()))
    view.tell("10.0 s: kill node0")
    view.note(status(10.0, 1_000, 990))
    view.note(status(12.0, 1_600, 1_390, [*range(1, 100), 480]))
    view.note_nodes(
        [
            NodeState("node0", is_up=False),
            NodeState("node1", True, 0.456, 90 << 20, 40, 3),
            NodeState("node2", True, 0.0, 80 << 20),
        ]
    )
    text = shown(view)
    cells = [cell.strip() for cell in text.replace("┃", "│").split("│")]
    for wanted in ("300", "200", "210", "50", "99", "down", "46", "90", "3", "silent"):
        assert wanted in cells, (wanted, text)
    assert "kill node0" in text and "12 s" in text and "up to 99 ms" in text


def test_another_run_begins_anew():
    view = LiveView(Console(file=StringIO()))
    view.note(status(50.0, 9_000, 9_000, [900.0]))
    view.note(status(1.0, 100, 80, [20.0]))
    text = shown(view)
    assert "up to 20 ms" in text
    assert "100" in [cell.strip() for cell in text.split("│")]  # a second, not -8,900


@pytest.mark.parametrize(
    ("values", "bars"),
    [((), ""), ((0.0, 0.0), BARS[0] * 2), ((1.0, 4.0, 8.0), BARS[1] + BARS[4] + BARS[7])],
)
def test_a_trend_has_a_bar_for_each_value(values, bars):
    assert draw_trend(values) == bars


def test_elsewhere_there_is_a_line_for_each_second(capsys):
    view = PlainView(is_silent=False)
    view.note(status(12.0, 1_600, 1_390, [5.0, 7.0]))
    view.note_nodes([])
    assert capsys.readouterr().err == (
        "     12 s  due 1600, done 1390, waiting 210, p99 7 ms, block 40, lag 2 ms\n"
    )
    PlainView(is_silent=True).note(status(1.0, 1, 1))
    assert capsys.readouterr() == ("", "")
