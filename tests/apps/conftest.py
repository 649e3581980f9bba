"""The apps run on the cluster of the end-to-end tests, with its fixtures."""

from e2e.conftest import context, home, make_lasting_namespace, make_namespace, on_node

__all__ = ["context", "home", "make_lasting_namespace", "make_namespace", "on_node"]
