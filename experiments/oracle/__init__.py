"""A second reader of packages and presentations, from the specification alone: an oracle."""
