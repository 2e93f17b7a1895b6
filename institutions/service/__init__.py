"""Desks and wallets: services that carry out orders and store their results."""
