"""Comparing the two EVM engines: random programs, mutants, costs, the official state tests."""
