"""Attacks with the chain's data and a guess: what they reveal is measured, not claimed."""
