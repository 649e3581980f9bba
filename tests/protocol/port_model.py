"""R4 of docs/protocol.md as a machine of states: one port of an activator and two pools.

The kernel gives a free port to any listener, so the port of one pool can become that of the other.
The assumption about time is a guard: an emptied slice rests until kube-proxy has synced again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

POOLS = (0, 1)


@dataclass(frozen=True)
class PortRules:
    """The parts of R4; each can be left out."""

    rests: bool = True
    """A listener stays after its last endpoint until kube-proxy has synced."""
    remembers: bool = True
    """The slice is emptied, not deleted, and names the port as long as the listener rests."""
    adopts_first: bool = True
    """After a crash in place the activator listens on the ports of its slices before new ones."""
    withdrawn_by_others: bool = True
    """Another activator, which takes this one for lost, withdraws the endpoint and does not delete
    the slice."""


class Ports(NamedTuple):
    """Who listens on the port, what the slices say, and where kube-proxy sends connections."""

    listener: int = -1
    """The pool whose connections the listener takes; -1 without one."""
    slices: tuple[str, str] = ("", "")
    """For each pool: '' (no slice that names the port), serves, or empty."""
    rested: tuple[bool, bool] = (False, False)
    """Whether kube-proxy has synced since the slice was emptied."""
    proxy: tuple[bool, bool] = (False, False)
    """Whether kube-proxy sends connections of each pool's Service to the port."""
    adopted: bool = True
    """False between a crash and the moment when the ports of the slices are bound again."""
    faults: int = 0


class PortModel:
    """The steps of an activator with its port under some rules."""

    def __init__(self, rules: PortRules | None = None) -> None:
        self.rules = rules or PortRules()

    def moves(self, s: Ports) -> Iterator[tuple[str, Ports]]:
        """Every step that can be taken next."""
        for pool in POOLS:
            yield from self._pool(s, pool)
        if not s.adopted:
            named = [pool for pool in POOLS if s.slices[pool]]
            listener = named[0] if named and s.listener < 0 else s.listener
            yield "the activator adopts", s._replace(adopted=True, listener=listener)
        serves = (s.slices[0] == "serves", s.slices[1] == "serves")
        rested = (s.slices[0] == "empty", s.slices[1] == "empty")
        if (serves, rested) != (s.proxy, s.rested):
            yield "kube-proxy syncs", s._replace(proxy=serves, rested=rested)
        if s.faults:
            yield (
                "FAULT the activator crashes",
                s._replace(listener=-1, adopted=False, faults=s.faults - 1),
            )

    def _pool(self, s: Ports, pool: int) -> Iterator[tuple[str, Ports]]:
        rules, there = self.rules, s.slices[pool]
        if s.listener < 0 and (s.adopted or not rules.adopts_first):
            yield f"pool {pool} is published", _with(s, pool, "serves")._replace(listener=pool)
        if s.listener == pool and there == "empty":
            yield f"pool {pool} is published again", _with(s, pool, "serves")
        if there == "serves" and s.listener == pool:
            yield f"pool {pool} is emptied", _with(s, pool, "empty" if rules.remembers else "")
        if there and not rules.withdrawn_by_others:
            yield f"another activator deletes the slice of pool {pool}", _with(s, pool, "")
        is_over = s.rested[pool] or not rules.rests
        if there == "empty" and s.listener == pool and is_over:
            yield f"pool {pool} is forgotten", _with(s, pool, "")._replace(listener=-1)


def misled(s: Ports) -> str:
    """The rule that a state breaks, or ''."""
    for pool in POOLS:
        if s.proxy[pool] and s.listener != pool and (s.listener >= 0 or s.adopted):
            return f"R4: connections of pool {pool} reach the listener of {s.listener}"
    return ""


def _with(s: Ports, pool: int, there: str) -> Ports:
    slices, rested = list(s.slices), list(s.rested)
    slices[pool], rested[pool] = there, False
    return s._replace(slices=(slices[0], slices[1]), rested=(rested[0], rested[1]))
