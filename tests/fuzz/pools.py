"""A WarmPool, its spec and its status, as people and programs may have written them."""

import time
from datetime import timedelta
from functools import cache
from typing import Any

from chart.kit import load_yaml
from fuzz.kit import NOW, ROOT, SOON, WORDS, Target, attempt
from fuzz.schema import values
from hypothesis import strategies as st

from kotatsu_operator.activator.namespace import View
from kotatsu_operator.core.calendar.schedule import next_start, occurrences
from kotatsu_operator.core.objects import target_of
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.core.pool.parse import SpecError, parse
from kotatsu_operator.core.report.episodes import read_stored
from kotatsu_operator.core.report.record import entry_of, read_entry
from kotatsu_operator.core.report.status import (
    memory_status,
    read_ledger,
    read_memory,
)
from kotatsu_operator.core.report.usage import read_usage, usage_field


@cache
def crd() -> dict[str, Any]:
    """The schema's properties."""
    (made,) = load_yaml((ROOT / "charts/kotatsu/crds/warmpools.kotatsu.dev.yaml").read_text())
    schema = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    properties: dict[str, Any] = schema["properties"]
    return properties


def specs() -> st.SearchStrategy[Any]:
    """Specs as the API server lets them through (and some that its rules would refuse)."""
    defaulted = {"apiVersion": "apps/v1", "kind": "Deployment"}

    def complete(spec: dict[str, Any]) -> dict[str, Any]:
        for window in spec.get("windows") or ():
            if "schedule" in window and "duration" in window:
                window.pop("start", None)
                window.pop("end", None)
            else:
                window.pop("schedule", None)
                window.pop("duration", None)
        return spec | {"targetRef": defaulted | spec["targetRef"]}

    return values(crd()["spec"], words=WORDS).map(complete)


def spec(given: Any) -> None:
    """A spec is read, or refused in a sentence; what was read has a schedule that can be asked."""
    began = time.process_time()
    read, why = attempt(lambda: parse(given), SpecError)
    if read is None:
        assert why.startswith("spec.")
        return
    found = occurrences(read.windows, read.zone, NOW, NOW + timedelta(days=8))
    assert all(o.start < o.end for o in found)
    next_start(read.windows, read.zone, NOW, timedelta(days=31))
    assert time.process_time() - began < SOON


def _pool(spec: Any, status: Any) -> dict[str, Any]:
    meta = {"name": "voice", "namespace": "demo", "generation": 1, "resourceVersion": "1"}
    return {"kind": "WarmPool", "metadata": meta, "spec": spec, "status": status}


def seen_by_activator(given: Any) -> None:
    """An activator reads any pool of its namespace: one that it could not would end it for all."""
    view = View()
    view.on_change("WarmPool")("MODIFIED", _pool(*given))
    pool = view.pools["voice"]
    assert pool.hold_timeout >= 0
    assert pool.settle >= 0
    if pool.spent is not None:
        assert 0 <= pool.spent.retry_after(pool.phase, NOW) <= 3600


def remembered(given: Any) -> None:
    """A status that somebody has edited is read, and what is written after it can be read again."""
    memory = read_memory(given, Memory())
    read_ledger(given)
    pool = _pool({"targetRef": {"name": "voice"}}, given)
    assert all(isinstance(part, str) for part in target_of(pool))
    entry = entry_of(pool)
    assert entry is None or read_entry(entry.text(), "demo") == entry
    read_stored(given, {"record": given})
    used = read_usage({"usage": given})
    assert used.used & ~used.known == 0
    assert read_usage({"usage": usage_field(used)}) == used or not used.known
    again = memory_status(memory, parse({"targetRef": {"apiVersion": "", "kind": "", "name": "a"}}))
    read_memory(again, Memory())


def _internal(words: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """`internal`: the fields that are read. No schema sees to their types."""
    times, texts = values({"type": "string", "format": "date-time"}), values({"type": "string"})
    numbers = values({"type": "integer"}) | values({"type": "number"})
    leaf = st.one_of(words, times, texts, numbers, st.booleans())
    rows = st.lists(st.one_of(st.lists(leaf, max_size=7), leaf), max_size=3)

    def one(names: str, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.fixed_dictionaries({}, optional=dict.fromkeys(names.split(), leaf) | more)

    def some(item: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.lists(item, max_size=2)

    period = one("currency periodStart accrued")
    paid = one(
        "from to reason name replicas podSeconds wakes opened cold cost currency periodStart"
        " episodes"
    )
    return one(
        "version activators parkedSince ahead capacity firstStart demandSeenAt demandUnknownSince"
        " wokenSoon foundReplicas takenService",
        target=one("kind name"),
        windows=one("ready cold late"),
        warmUps=rows,
        template=one("hash proven metered asked"),
        hpa=one("name minReplicas"),
        contest=one("by writtenAt seenAt count"),
        calendars=some(one("name readAt leftOut", windows=rows, closed=some(leaf))),
        override=one("key seenAt done reported"),
        opening=one("readyAt replicas excused"),
        cost=one("at period periodEnd exhaustedAt podPerHour parkedPodPerHour", previous=period),
        notices=some(one("id reason message warning at")),
        reported=one("unused rehearsal"),
        knative=one("", revisions=some(one("name minScale uid", written=some(leaf)))),
        history=one(
            "since woken",
            running=paid,
            episodes=some(paid),
            earlier=some(paid),
        ),
    )


def statuses(words: st.SearchStrategy[str] = WORDS) -> st.SearchStrategy[Any]:
    """Statuses as the API server lets them through: anything may be in `internal`."""
    shown = values(crd()["status"], words=words)
    return st.builds(lambda status, inner: status | {"internal": inner}, shown, _internal(words))


_STATUSES = st.deferred(statuses)
_SPECS = st.deferred(specs)

TARGETS = [
    Target("spec", _SPECS, spec, 80),
    Target("seen_by_activator", st.tuples(_SPECS, _STATUSES).map(list), seen_by_activator, 80),
    Target("remembered", _STATUSES, remembered, 80, is_door=True),
]
