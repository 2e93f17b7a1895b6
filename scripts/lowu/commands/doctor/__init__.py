"""``lowu doctor``: what is wrong with the nodes of a network, and mending it."""
