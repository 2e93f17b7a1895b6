"""Networks of processes whose nodes change while they run."""
