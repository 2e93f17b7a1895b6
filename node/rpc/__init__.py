"""JSON-RPC over HTTP and WebSocket: eth and FISCO BCOS dialects, limits, subscriptions."""
