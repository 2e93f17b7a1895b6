"""Deterministic simulation of a whole consortium of replicas in virtual time.

One seed decides everything: the same seed gives the same events, byte for byte. Signatures
are a keyed hash and execution is a hash chain; the replica, the messages, the certificates and
their checks are the product's own. Researchers run it with ``lowu simulate``.
"""
