"""Both EVM engines side by side: programs, faults, costs, the official state tests."""
