"""Whole nodes under random faults in virtual time: `lowu simulate --stack full`."""
