"""Will a WarmPool work for a workload? `reader` reads, everything else judges what was read."""
