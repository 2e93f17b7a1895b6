"""The command `lowu attack`."""
