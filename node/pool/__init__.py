"""Transactions that wait, and how they come to all nodes."""
