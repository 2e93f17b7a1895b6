"""The command `lowu org`."""
