"""Faults in a running network: links cut, leaders killed."""
