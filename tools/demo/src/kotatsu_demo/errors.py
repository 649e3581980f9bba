"""What can go wrong, in sentences for people."""

from __future__ import annotations

from kotatsu_node.errors import NodeError


class DemoError(NodeError):
    """A step failed: what happened, the last relevant log lines, and what to try next."""


class MissingError(DemoError):
    """The machine lacks something that no step of ours can bring."""

    exit_code = 2
