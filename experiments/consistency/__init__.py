"""What clients see of the ledger under faults, recorded and checked."""
