"""Waiting transactions, and their gossip to all nodes."""
