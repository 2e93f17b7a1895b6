"""Validators that lie, and what they forge."""
