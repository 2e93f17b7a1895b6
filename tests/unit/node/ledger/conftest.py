"""What several tests of the ledger are given."""

from random import Random

import pytest

from lowu.node.ledger.rocks import RocksStorage
from lowu.node.ledger.storage import MemoryStorage
from lowu.node.simulation.stack.disk import FaultyStorage

STORAGES = ("memory", "faulty", "rocks")
"""The storages that there are; the faulty one does not fail until it is told to."""


def open_storage(kind, folder):
    """Open an empty storage."""
    if kind == "memory":
        return MemoryStorage()
    if kind == "faulty":
        return FaultyStorage(Random(1), failure_rate=0.0)
    return RocksStorage(folder / "data")


@pytest.fixture(params=STORAGES)
def storage(request, tmp_path):
    found = open_storage(request.param, tmp_path)
    yield found
    found.close()
