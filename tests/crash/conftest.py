"""Fixtures: images of a validator's folder, and folders to damage, in memory if possible."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.crash import kit

SHARED_MEMORY = Path("/dev/shm")


def fast_folder():
    """Return a new folder on the fastest disk, as the tests open hundreds of databases."""
    parent = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="lowu-crash-", dir=parent))


@pytest.fixture(scope="session")
def young():
    """Images of a validator whose whole database is still in the engine's log."""
    folder = fast_folder()
    yield kit.make_history(folder, blocks=6, recorded=3)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def old():
    """Images of a validator whose database also has tables."""
    folder = fast_folder()
    yield kit.make_history(folder, blocks=40, recorded=1, buffer_bytes=65_536)
    shutil.rmtree(folder)


@pytest.fixture
def folder():
    """A folder for copies of images."""
    found = fast_folder()
    yield found / "copy"
    shutil.rmtree(found)
