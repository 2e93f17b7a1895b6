"""Stores that are closed after each test: most tests simulate a process that dies suddenly."""

from lowu.institutions.service.store import Store

_opened = []


def open_store(path):
    """A store that is closed when the test ends."""
    store = Store(path)
    _opened.append(store)
    return store


def close_stores():
    while _opened:
        _opened.pop().close()
