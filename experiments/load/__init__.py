"""Load: what is offered to a network, at which times, and what became of it."""
