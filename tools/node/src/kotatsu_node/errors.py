"""What can go wrong, in sentences for people."""

from __future__ import annotations


class NodeError(Exception):
    """A step failed: what happened, the last relevant log lines, and what to try next."""

    exit_code = 1

    def __init__(self, what: str, *, log: str = "", hint: str = "", step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.log = log
        self.hint = hint
        self.step = step

    def report(self) -> str:
        """The lines to print: step and reason, the log indented, then what to try."""
        head = f"{self.step}: {self.what}" if self.step else self.what
        lines = [f"error: {head}"]
        lines += [f"  | {line}" for line in self.log.strip().splitlines()]
        if self.hint:
            lines.append(f"try: {self.hint}")
        return "\n".join(lines)


class UnsupportedError(NodeError):
    """This machine cannot run a node at all (not Linux, not root, no Go)."""

    exit_code = 2
