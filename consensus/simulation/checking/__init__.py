"""The reliability properties, checked over a running simulation."""
