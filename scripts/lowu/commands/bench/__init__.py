"""``lowu bench``: each command measures in its own module."""
