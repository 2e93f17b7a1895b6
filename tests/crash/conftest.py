"""Where damaged databases are opened: in memory where there is a place for that."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.crash import kit

SHARED_MEMORY = Path("/dev/shm")


def fast_folder():
    """Return a new folder on the fastest disk: hundreds of databases are opened."""
    parent = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="lowu-crash-", dir=parent))


@pytest.fixture(scope="session")
def young():
    """Images of a validator whose whole database is still in its log."""
    folder = fast_folder()
    yield kit.make_history(folder, blocks=6, recorded=3)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def old():
    """Images of a validator whose database has tables, too."""
    folder = fast_folder()
    yield kit.make_history(folder, blocks=40, recorded=1, buffer_bytes=65_536)
    shutil.rmtree(folder)


@pytest.fixture
def folder():
    """A folder to put copies into."""
    found = fast_folder()
    yield found / "copy"
    shutil.rmtree(found)
