"""Warm pools for Kubernetes: the operator, the activator, and the pure core that both use."""
