"""HTTP and WebSocket: access, limits, and the reading of requests."""
