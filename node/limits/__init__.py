"""What others may cost a node: connections, open files, JSON."""
