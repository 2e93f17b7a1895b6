"""The checks of a presentation, their verdicts, and reports on them."""
