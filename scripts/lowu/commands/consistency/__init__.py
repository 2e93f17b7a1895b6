"""``lowu consistency``: histories of clients under faults, checked."""
