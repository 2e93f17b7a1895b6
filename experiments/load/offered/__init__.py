"""Who offers the load of an experiment: the workloads, and the generator that times them."""
