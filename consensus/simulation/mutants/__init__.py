"""Known bugs and mistakes, put back into the core one at a time."""
