"""What is measured: workloads, faults, runs, reports."""
