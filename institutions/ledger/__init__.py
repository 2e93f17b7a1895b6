"""What institutions ask of nodes and send to them, and how far they believe the answers."""
