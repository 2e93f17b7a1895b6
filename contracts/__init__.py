"""The registry contracts that all nodes run, their committed artifacts, and bindings.

The Solidity sources are in `solidity/`, the compiled artifacts in `artifacts/` (where npm is
present, the tests recompile and compare them byte for byte). `registry` has typed calls.
"""
