"""The checks of a presentation, the verdicts they lead to, and reports of them."""
