"""Institutions' access to nodes: queries, transactions, and distrustful reading of answers."""
