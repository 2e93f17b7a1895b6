"""The eth dialect."""
