"""What can go wrong, in sentences for people."""

from __future__ import annotations

from kotatsu_node.errors import NodeError


class ReleaseError(NodeError):
    """A release cannot be made: what is wrong, and what to do about it."""
