"""Around the replica: what drives it, executes, seals and catches up."""
