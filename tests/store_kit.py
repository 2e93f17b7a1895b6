"""Stores of a test, closed after it: most tests play a process that ends without a word."""

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
