"""The actors of scenarios, and the clients through which they reach nodes."""
