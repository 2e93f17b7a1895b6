"""Shared helpers of the tests."""

import gc

import pytest

from tests.store_kit import close_stores


@pytest.fixture(autouse=True)
def _collect_after():
    """Surface resource warnings in the test that causes them."""
    yield
    close_stores()
    gc.collect(0)
