"""``lowu snapshot``: a whole network in one file."""
