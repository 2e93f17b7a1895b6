"""``lowu crash-matrix`` and ``lowu crash-test``."""
