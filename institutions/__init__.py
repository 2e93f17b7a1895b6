"""Who uses the network: agencies, banks and holders, and the documents between them.

A document never touches a node. Its issuer builds a *package* (salted typed leaves under a
Merkle root, a signed header, a blinded anchor for each receiver) and registers only the
anchor; the holder carries the package; the receiver recomputes everything and compares with
the ledger. This package talks to a node through `lowu.node.client` alone.
"""
