"""Properties of reliability as checks over a running simulation."""
