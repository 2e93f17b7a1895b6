"""What somebody learns who has the chain's data and a guess: measured, not claimed."""
