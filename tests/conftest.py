"""Shared helpers of the tests."""

import gc

import pytest


@pytest.fixture(autouse=True)
def _collect_after():
    """Surface resource warnings in the test that causes them."""
    yield
    gc.collect(0)
