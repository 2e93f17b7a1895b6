"""Experiments: scenarios, attacks, faults, and load for measurements."""
