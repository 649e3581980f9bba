"""The apps run on the cluster of the end-to-end tests, with its fixtures."""

from e2e.conftest import context, make_namespace, on_node

__all__ = ["context", "make_namespace", "on_node"]
