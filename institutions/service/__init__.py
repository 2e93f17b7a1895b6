"""Desks and wallets: services with a store of what they did, which carry out orders."""
