"""Crashes at chosen durable steps, and at random ones, and what must hold after each."""
