"""``lowu node``: the nodes of a running network, added, removed and given votes."""
