"""What a command is given of the world: a terminal, a clock, a cluster."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from .terminal import Terminal

if TYPE_CHECKING:
    # Help and completion of commands want none of the core or of HTTP, and no time to load it.
    from .api import Api
    from .errors import DemoModeError
    from .pools import Pool


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Shell:
    """The world outside; tests pass another clock."""

    terminal: Terminal
    stdin: TextIO
    user: str = ""
    kubectl: str = "kubectl"
    clock: Callable[[], datetime] = _now
    sleep: Callable[[float], None] = time.sleep
    refused: set[str] = field(default_factory=set)
    """What was said of pools that cannot be read; with any of them a command fails."""

    def refuse(self, error: DemoModeError) -> None:
        """Say once what is wrong with a pool, and go on with the others."""
        if str(error) not in self.refused:
            self.refused.add(str(error))
            self.terminal.complain(f"error: {error}")

    def api(self, options: Namespace) -> Api:
        """A session with the cluster the flags ask for."""
        from .api import Api

        flags = [
            f"--{flag}={value}"
            for flag in ("context", "kubeconfig")
            if (value := getattr(options, flag))
        ]
        return Api(flags, self.kubectl)

    def namespace(self, api: Api, options: Namespace) -> str:
        """The namespace the flags or the context ask for."""
        return str(options.namespace or api.namespace())

    def find(self, api: Api, options: Namespace, *, priced: bool = True) -> list[Pool]:
        """The pools a command is about."""
        from .pools import Selection, find

        chosen = Selection(
            options.pools,
            options.selector,
            getattr(options, "everything", False),
            options.all_namespaces,
        )
        namespace = "" if options.all_namespaces else self.namespace(api, options)
        return find(api, namespace, chosen, priced=priced, refuse=self.refuse)
