"""The warm-up before nodes are forked succeeds."""

from lowu.node.chain.receipt import ReceiptStatus
from lowu.node.execution import warm_up
from lowu.node.execution.executor import call


def test_it_runs_to_its_end_in_each_engine(monkeypatch):
    statuses = []

    def watched(*arguments):
        outcome = call(*arguments)
        statuses.append((arguments[1].engine, outcome.status))
        return outcome

    monkeypatch.setattr(warm_up, "call", watched)
    warm_up.warm_up()
    assert {status for _, status in statuses} == {ReceiptStatus.SUCCESS}
    assert len({engine for engine, _ in statuses}) == 2
