"""The cache of state values returns the latest values, within its bound."""

from hypothesis import given
from hypothesis import strategies as st

from lowu.node.ledger.state_cache import ENTRY_BYTES, StateCache


def test_a_value_is_known_until_it_is_written():
    cache = StateCache()
    assert cache.get(b"k") is None
    cache.remember(b"k", b"old", cache.commits)
    assert cache.get(b"k") == b"old"
    cache.on_commit({b"k": b"new", b"other": b"unread"})
    assert cache.get(b"k") == b"new"
    assert cache.get(b"other") is None


def test_what_was_absent_is_forgotten_when_it_appears():
    cache = StateCache()
    cache.remember(b"k", b"", cache.commits)
    assert cache.get(b"k") == b""
    cache.on_commit({b"k": b"new"})
    assert cache.get(b"k") is None
    assert cache.size_bytes == 0


def test_a_deleted_value_is_known_to_be_absent():
    cache = StateCache()
    cache.remember(b"k", b"value", cache.commits)
    cache.on_commit({b"k": b""})
    assert cache.get(b"k") == b""


def test_what_was_read_before_a_commit_comes_too_late():
    cache = StateCache()
    commits = cache.commits
    cache.on_commit({b"k": b"new"})
    cache.remember(b"k", b"old", commits)
    assert cache.get(b"k") is None


def test_the_first_read_leaves_first():
    cache = StateCache(bytes_max=3 * (ENTRY_BYTES + 2))
    for key in (b"a", b"b", b"c", b"d"):
        cache.remember(key, b"1", cache.commits)
    assert [cache.get(key) for key in (b"a", b"b", b"c", b"d")] == [None, b"1", b"1", b"1"]
    cache.remember(b"huge", b"x" * 1_000, cache.commits)
    assert cache.get(b"huge") is None
    assert cache.size_bytes == 0


KEYS = st.sampled_from((b"a", b"b", b"c", b"d"))
VALUES = st.sampled_from((b"", b"1", b"22" * 40))


@given(st.lists(st.tuples(st.booleans(), st.dictionaries(KEYS, VALUES, min_size=1))))
def test_it_never_answers_what_is_not_so(steps):
    state: dict[bytes, bytes] = {}
    cache = StateCache(bytes_max=2 * (ENTRY_BYTES + 50))
    for is_commit, items in steps:
        if is_commit:
            state |= items
            cache.on_commit(items)
        else:
            for key in items:
                cache.remember(key, state.get(key, b""), cache.commits)
        for key in (b"a", b"b", b"c", b"d"):
            assert cache.get(key) in (None, state.get(key, b""))
        held = [key for key in (b"a", b"b", b"c", b"d") if cache.get(key) is not None]
        expected = sum(len(key) + len(state.get(key, b"")) + ENTRY_BYTES for key in held)
        assert cache.size_bytes == expected <= 2 * (ENTRY_BYTES + 50)
