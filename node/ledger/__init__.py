"""The sole owner of the chain: head, blocks, receipts, state and indexes, on a storage port."""
