"""The actors of scenarios and tests."""

import pytest

from lowu.institutions.service.store import Store, StoreError
from lowu.testing.networks import VirtualNetwork


def test_stores_are_closed_with_the_network(monkeypatch):
    """Else Python 3.13 and newer warn of databases that are not closed, in tests of users, too."""
    opened = []

    class Noted(Store):
        def __init__(self, path):
            super().__init__(path)
            opened.append(self)

    monkeypatch.setattr("lowu.experiments.actors.actors.Store", Noted)

    async def play(actors, faults):
        actors.use_key("szcredit", actors.issuers["szcredit"].member.document_key, 1)
        assert all(store.run("SELECT 1") for store in opened)
        return len(actors.desks)

    desks = VirtualNetwork("dev-4").play(play)
    assert len(opened) == desks + 1
    for store in opened:
        with pytest.raises(StoreError, match="closed"):
            store.run("SELECT 1")
