"""Limits on what others may cost a node: connections, open files, JSON."""
