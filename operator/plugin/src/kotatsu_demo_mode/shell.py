"""What a command needs from outside: a terminal, a clock, a cluster."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO, TypeVar

from .errors import DemoModeError
from .terminal import Terminal, plain

if TYPE_CHECKING:
    # Help and completion need neither the core nor HTTP, which take time to load.
    from .api import Api
    from .pools import Pool


T = TypeVar("T")
R = TypeVar("R")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Shell:
    """The terminal, the clock and the cluster; tests replace them."""

    terminal: Terminal
    stdin: TextIO
    user: str = ""
    kubectl: str = "kubectl"
    clock: Callable[[], datetime] = _now
    sleep: Callable[[float], None] = time.sleep
    refused: set[str] = field(default_factory=set)
    """Errors of pools, of which the others are done; with any, the command fails."""
    named_last: list[str] = field(default_factory=list)
    """Of several pools, those that the operator refuses."""

    def refuse(self, error: DemoModeError) -> None:
        """Print the error of a pool once, and continue with the others."""
        if str(error) not in self.refused:
            self.refused.add(str(error))
            self.terminal.complain(f"error: {error}")

    def each(self, items: Sequence[T], act: Callable[[T], R], name: Callable[[T], str]) -> list[R]:
        """Act on each item: an error of one of several is printed, and the others go on."""
        done = []
        for item in items:
            try:
                done.append(act(item))
            except DemoModeError as error:
                if len(items) == 1:
                    raise
                self.refuse(DemoModeError(f"{name(item)}: {error}"))
        return done

    def show(
        self,
        found: Sequence[T],
        options: Namespace,
        text: Callable[[T], Iterable[str]],
        record: Callable[[T], object],
    ) -> int:
        """Print what is known of each pool, as text or in the form of the flags."""
        if options.output:
            self.terminal.dump([record(one) for one in found], options.output)
        elif not found:
            self.terminal.say("No WarmPool found; use -A for all namespaces.")
        else:
            lines = ("\n".join(map(plain, text(one))) for one in found)
            self.terminal.say_as_is("\n\n".join(lines))
        return 0

    def confirm(self, *, yes: bool) -> None:
        """Ask on a terminal; without one, or with `yes`, go on. Raises DemoModeError after a no."""
        if yes or not (self.terminal.is_live and self.stdin.isatty()):
            return
        self.terminal.ask("Continue? [y/N] ")
        if self.stdin.readline().strip().lower() not in ("y", "yes"):
            raise DemoModeError("nothing was changed; answer y, or use --yes")

    def api(self, options: Namespace) -> Api:
        """A session with the cluster of the flags."""
        from .api import Api

        flags = [
            f"--{flag}={value}"
            for flag in ("context", "kubeconfig")
            if (value := getattr(options, flag))
        ]
        return Api(flags, self.kubectl, self.sleep)

    def namespace(self, api: Api, options: Namespace) -> str:
        """The namespace of the flags or of the context; empty for all."""
        if getattr(options, "all_namespaces", False):
            return ""
        return str(options.namespace or api.namespace())

    def find(self, api: Api, options: Namespace) -> list[Pool]:
        """The chosen pools, by namespace and name. Raises DemoModeError if one does not exist.

        If one of several cannot be read, its error is printed and it is left out.
        """
        from .pools import items_of, read_pool

        items = items_of(api, self.namespace(api, options), options)
        pools = []
        for item in items:
            try:
                pools.append(read_pool(item))
            except DemoModeError as error:
                if len(items) == 1:
                    raise
                self.refuse(error)
        return pools

    def accepted(self, pools: Sequence[Pool]) -> list[Pool]:
        """The pools that the operator accepts. The others are named, and the command fails."""
        for pool in pools:
            if pool.refusal:
                self.refuse(DemoModeError(f"{pool.name}: {pool.refusal}"))
                if len(pools) > 1:
                    self.named_last.append(pool.name)
        return [pool for pool in pools if not pool.refusal]
