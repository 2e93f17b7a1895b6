"""Documents, their subjects, and the rules of each schema."""
