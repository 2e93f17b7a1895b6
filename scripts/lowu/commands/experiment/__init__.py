"""``lowu experiment``: load experiments from files."""
