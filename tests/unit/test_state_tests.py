"""The runner of the official state tests, and what it is measured by itself."""


from hypothesis import given, settings
from hypothesis import strategies as st
from trie.hexary import HexaryTrie

from node.crypto import keccak256
from node.simulation.state_trie import EMPTY_ROOT, compute_trie_root


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.binary(min_size=1, max_size=32), st.binary(min_size=1, max_size=80)))
def test_roots_are_those_of_the_trie_library(leaves):
    trie = HexaryTrie({})
    for key, value in leaves.items():
        trie[keccak256(key)] = value
    assert compute_trie_root(leaves) == trie.root_hash
    assert compute_trie_root({}) == EMPTY_ROOT
