"""What an experiment file says: load, links, faults, and what is expected."""
