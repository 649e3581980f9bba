"""What the API server and the kernel have seen of the operator."""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
AT_REST = ("watch", "versions")
"""The verbs of what goes on while nothing happens, beside the Lease."""
MIB = 2**20 / 1e6
"""MB of a MiB."""


@dataclass(frozen=True)
class Request:
    """One finished request of the audit log; `name` is that of the object."""

    user: str
    verb: str
    what: str
    name: str
    began: datetime
    ended: datetime
    code: int


def read_audit(log: Path, start: int = 0) -> list[Request]:
    """The requests so far, in order of their end; `start` leaves out that many bytes of the log."""
    found = []
    with log.open() as file:
        file.seek(start)
        lines = file.read().splitlines()
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # being written
        ref = event.get("objectRef") or {}
        what = "/".join(x for x in (ref.get("resource", ""), ref.get("subresource", "")) if x)
        found.append(
            Request(
                event["user"]["username"],
                "versions" if _is_of_versions(event) else event["verb"],
                what,
                ref.get("name", ""),
                datetime.fromisoformat(event["requestReceivedTimestamp"]),
                datetime.fromisoformat(event["stageTimestamp"]),
                int((event.get("responseStatus") or {}).get("code", 0)),
            )
        )
    return found


def _is_of_versions(event: dict[str, Any]) -> bool:
    """Whether a request compares what the operator's watch has shown (decision 101)."""
    return str(event["requestURI"]).endswith("/warmpools?resourceVersion=0")


def count(
    requests: Sequence[Request], user: str, after: datetime, before: datetime
) -> Counter[str]:
    """How many requests of a user began in a stretch of time, by verb and resource; not AT_REST."""
    return Counter(
        f"{r.verb} {r.what}"
        for r in requests
        if r.user == user and after <= r.began < before and r.verb not in AT_REST
    )


def answers(causes: Sequence[tuple[str, datetime]], requests: Sequence[Request]) -> list[float]:
    """Milliseconds from each cause (pool, moment) to the operator's next write of that status."""
    writes = defaultdict(list)
    for r in requests:
        if r.user == "operator" and r.what == "warmpools/status" and r.code < 400:
            writes[r.name].append(r.began)
    found = []
    for pool, at in causes:
        later = [w for w in writes[pool] if w >= at]
        if later:
            found.append((min(later) - at).total_seconds() * 1000)
    return sorted(found)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of sorted values; NaN of none."""
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mib(pid: int, of: str = "VmRSS") -> float:
    """Memory of a process: at present, or with `VmHWM` at most so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(of):
            return int(line.split()[1]) / 1024
    return float("nan")
