"""``lowu bench``: each command measures in a module of its own."""
