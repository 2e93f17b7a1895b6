"""What several tests of the ledger are given."""

import pytest

from lowu.node.ledger.rocks import RocksStorage
from lowu.node.ledger.storage import MemoryStorage


@pytest.fixture(params=["memory", "rocks"])
def storage(request, tmp_path):
    if request.param == "memory":
        yield MemoryStorage()
        return
    found = RocksStorage(tmp_path / "data")
    yield found
    found.close()
