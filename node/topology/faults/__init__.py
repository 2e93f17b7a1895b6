"""What experiments and tests may do to a network: the shapes of links, and orders to fail."""
