"""Institutions as programs that remember what they did, and do orders from files."""
