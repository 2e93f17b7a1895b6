"""Document schemas: their rules, how they are written as tables, and those that come with Lowu."""
