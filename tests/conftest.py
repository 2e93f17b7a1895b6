"""Shared helpers of the tests."""

import gc

import pytest

from tests.store_kit import close_stores
from tests.warm_command import warm_commands


@pytest.fixture(autouse=True)
def _collect_after():
    """Surface resource warnings in the test that causes them."""
    yield
    close_stores()
    gc.collect(0)


@pytest.fixture(scope="session")
def warm(tmp_path_factory):
    """A folder for PATH with a `lowu` and a `pytest` that have imported everything."""
    with warm_commands(tmp_path_factory.mktemp("warm")) as tools:
        yield tools
