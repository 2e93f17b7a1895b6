"""The chain's only owner: head, blocks, receipts, state, indexes, over a storage port."""
