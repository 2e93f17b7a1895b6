"""Networks of real processes for tests."""

import pytest

from tests.network.kit import Network


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A dev-4 network that tests may use but not break."""
    network = Network(tmp_path_factory.mktemp("shared") / "nodes")
    yield network
    network.close()
