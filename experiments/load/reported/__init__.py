"""What is shown of an experiment: the page, its plots, other forms, and comparisons."""
