"""The kinds of workloads that a pool can scale, one module for each."""
