"""How bytes travel: delay, losses that TCP mends, and as many as fit through."""

from random import Random
from statistics import fmean

import pytest

from lowu.node.topology.faults.link_shape import RETRANSMISSION_S, LinkShape, list_directions


def delays(shape, count=20_000):
    random = Random(1)
    return [shape.draw_delay_s(random) for _ in range(count)]


def test_a_plain_link_takes_no_time():
    assert set(delays(LinkShape(), 10)) == {0.0}
    assert LinkShape().transmission_s(10**9) == 0


def test_delay_and_jitter():
    found = delays(LinkShape(0.04, 0.01))
    assert 0.04 <= min(found) < 0.0401
    assert 0.0499 < max(found) < 0.05
    assert fmean(found) == pytest.approx(0.045, abs=0.0002)


@pytest.mark.parametrize("loss", [0.01, 0.3])
def test_a_lost_chunk_waits_for_its_retransmission(loss):
    found = delays(LinkShape(loss=loss))
    for losses in range(3):
        wait_s = RETRANSMISSION_S * (2**losses - 1)
        share = sum(abs(item - wait_s) < 1e-9 for item in found) / len(found)
        assert share == pytest.approx(loss**losses * (1 - loss), abs=0.01)


def test_the_worst_of_luck_ends():
    assert max(delays(LinkShape(loss=1.0), 10)) == pytest.approx(RETRANSMISSION_S * 255)


def test_bytes_take_their_time():
    assert LinkShape(bytes_per_s=1_000_000).transmission_s(250_000) == 0.25


def test_a_trace_is_replayed_and_begins_anew():
    shape = LinkShape(delay_s=0.001, trace=((0.0, 0.01), (1.0, 0.02), (3.0, 0.0)))
    found = [shape.draw_delay_s(Random(1), at_s) for at_s in (0.0, 0.99, 1.0, 2.9, 3.0, 4.5)]
    assert found == pytest.approx([0.011, 0.011, 0.021, 0.021, 0.011, 0.021])


def test_directions_between_ends():
    both = list_directions((["a", "b"], ["b", "c"]))
    assert both == {("a", "b"), ("b", "a"), ("a", "c"), ("c", "a"), ("b", "c"), ("c", "b")}
    assert list_directions((["a"], ["b"]), is_one_way=True) == {("a", "b")}
