"""Links between nodes: mutual TLS, framing, bounded priority queues, reconnecting."""
