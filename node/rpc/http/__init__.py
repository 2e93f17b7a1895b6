"""HTTP and WebSocket: who may speak, how much, and how requests are read."""
