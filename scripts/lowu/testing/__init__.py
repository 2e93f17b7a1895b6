"""Networks for other people's tests, and the pytest plugin."""
