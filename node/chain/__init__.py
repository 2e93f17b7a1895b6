"""Transactions, receipts, blocks: their shapes, encodings and Merkle trees. No I/O."""
