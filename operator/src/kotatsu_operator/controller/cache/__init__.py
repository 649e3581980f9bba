"""What the watches have shown: the operator's cache of the cluster."""
