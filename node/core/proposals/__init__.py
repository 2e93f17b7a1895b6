"""Proposals on one node: their bodies, the checks before a vote, and the transport of bodies."""
