"""Disks that lost data, and processes killed between two steps."""
