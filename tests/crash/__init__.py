"""Disks that lost something, and processes that died between two steps."""
