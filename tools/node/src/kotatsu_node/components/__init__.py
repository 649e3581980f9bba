"""The programs of a node: how each is configured and started, and the containers they run."""
