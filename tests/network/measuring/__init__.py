"""Commands that measure, on real processes."""
