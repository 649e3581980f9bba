"""A throwaway one-node Kubernetes in its own network namespace, for machines without Docker."""

from kotatsu_node.errors import NodeError, UnsupportedError
from kotatsu_node.node import Node, Status

__all__ = ["Node", "NodeError", "Status", "UnsupportedError"]
