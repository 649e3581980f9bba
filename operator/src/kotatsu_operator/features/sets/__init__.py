"""WarmPoolSets: one object that makes the WarmPools of many workloads."""
