"""Byzantine validators, and the certificates that they forge."""
