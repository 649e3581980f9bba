"""A throwaway one-node Kubernetes in its own network namespace, for machines without Docker."""

from kotatsu_node.errors import NodeError, UnsupportedError
from kotatsu_node.node import Node
from kotatsu_node.status import Status

__all__ = ["Node", "NodeError", "Status", "UnsupportedError"]
