"""Who plays scenarios, and the clients they play them through."""
