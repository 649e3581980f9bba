"""The network namespace that the node has to itself."""
