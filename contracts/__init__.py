"""What the nodes agree on: the registry contracts, their committed artifacts, and bindings.

The Solidity sources are in `solidity/`, what they compile to in `artifacts/` (recompiled and
compared byte for byte by the tests where npm is present). `registry` gives typed calls.
"""
