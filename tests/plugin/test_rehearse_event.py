"""Several pools are rehearsed together, and each is restored whatever happens."""

import json
from collections.abc import Callable, Generator, Mapping
from copy import deepcopy
from typing import Any

import pytest
from plugin.kit import Cluster, Ran, demo_mode, manifest
from plugin.test_report import GOOD

from kotatsu_demo_mode.client import Pause
from kotatsu_demo_mode.errors import DemoModeError
from kotatsu_demo_mode.rehearse import at_once
from kotatsu_demo_mode.stages import Report
from kotatsu_operator.core.protocol import REHEARSAL_ANNOTATION
from kotatsu_operator.core.report.verdict import Verdict, read_verdict


class Operated(Cluster):
    """A cluster whose operator carries out each override at once, and whose pods answer 200."""

    def __init__(self, *names: str, stuck: str = "") -> None:
        super().__init__(*(manifest(name) for name in names))
        for raw in self._pools.values():
            raw["status"] = {"internal": {"activators": "kotatsu/0"}}
        self._stuck = stuck
        self.log: list[str] = []
        """Overrides in the order in which they were set, and requests."""

    def get(self, path: str, **query: str) -> dict[str, Any]:
        folder, _, _ = path.rpartition("/")
        if folder.endswith("/services"):
            return {"spec": {"ports": [{"port": 80}]}}
        if folder.endswith("/pods"):
            return {"status": {"phase": "Succeeded"}}
        return super().get(path, **query)

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        command = body["spec"]["containers"][0]["command"]
        job = json.loads(command[-1])
        self.log.append(f"{job['requests']} to {job['url'].split('//')[1].split('.')[0]}")
        return body

    def text(self, path: str) -> str:
        return json.dumps({"seconds": 0.1, "results": [[0.1, 200, ""]]})

    def delete(self, path: str) -> None:
        pass

    def patch(self, path: str, body: Any, _: str, query: Mapping[str, str]) -> dict[str, Any]:
        raw = self._pools[path.rpartition("/")[2]]
        if "annotations" in body["metadata"]:
            raw["metadata"]["annotations"] = body["metadata"]["annotations"]
        elif "spec" not in body:
            raw["spec"].pop("override", None)
        if "spec" not in body:
            return deepcopy(raw)
        override = body["spec"]["override"]
        raw["spec"]["override"] = override
        raw["metadata"]["generation"] += 1
        warm = override["mode"] == "Warm"
        self.log.append(f"{raw['metadata']['name']} {override['mode']}")
        if raw["metadata"]["name"] == self._stuck:
            return deepcopy(raw)
        condition = {
            "type": "Warm",
            "status": str(warm),
            "observedGeneration": raw["metadata"]["generation"],
        }
        raw["status"] = {
            "phase": "Warm" if warm else "Asleep",
            "readyReplicas": int(warm),
            "conditions": [condition],
        }
        return deepcopy(raw)

    def verdict(self, name: str) -> Verdict | None:
        """The verdict that a pool is annotated with."""
        return read_verdict(self._pools[name]["metadata"]["annotations"][REHEARSAL_ANNOTATION])

    def overrides(self) -> list[str]:
        """The pools that still have one."""
        return [name for name, raw in self._pools.items() if "override" in raw["spec"]]


def rehearse(
    cluster: Operated, *words: str, sleep: Callable[[float], None] = lambda _: None
) -> Ran:
    return demo_mode("rehearse", "-l", "team=pet", *words, cluster=cluster, sleep=sleep)


def test_the_pools_of_a_label_are_rehearsed_together_and_have_one_verdict():
    cluster = Operated("auth", "voice")
    ran = rehearse(cluster, "--requests", "7")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[-1] == (
        "The demo would have succeeded. auth, voice follow their schedules again."
    )
    assert cluster.log == [
        *("auth Asleep", "voice Asleep"),
        *("1 to auth", "1 to voice"),
        *("auth Warm", "voice Warm"),
        *("7 to auth", "7 to voice"),
    ]
    assert cluster.overrides() == []
    for name in ("auth", "voice"):  # the operator reports it
        verdict = cluster.verdict(name)
        assert verdict is not None
        assert (verdict.passed, verdict.failures) == (True, ())


def test_one_pool_that_fails_is_named_and_the_others_are_rehearsed_to_the_end():
    cluster = Operated("auth", "voice", stuck="auth")
    ran = rehearse(cluster, "-o", "json")
    assert ran.code == 1
    assert ran.json["passed"] is False
    auth, voice = ran.json["pools"]
    assert auth["passed"] is False
    assert "auth did not fall asleep" in auth["failures"][0]
    assert voice["passed"] is True
    assert cluster.overrides() == []
    verdict = cluster.verdict("auth")
    assert verdict is not None
    assert "did not fall asleep" in verdict.failures[0]


def test_an_interrupt_restores_every_pool():
    cluster = Operated("auth", "voice", stuck="voice")

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    assert rehearse(cluster, sleep=interrupt).code == 130
    assert cluster.log == ["auth Asleep", "voice Asleep"]
    assert cluster.overrides() == []


def test_one_address_is_not_asked_for_several_pools():
    ran = rehearse(Operated("auth", "voice"), "--url", "https://pet.example")
    assert ran.code == 1
    assert "--url is one address for several pools (auth, voice)" in ran.err


def test_a_rehearsal_waits_at_a_barrier_for_those_that_are_behind():
    log: list[str] = []

    def steps(name: str, waits: int) -> Generator[Pause, None, Report]:
        for _ in range(waits):
            yield Pause.WAIT
        log.append(f"{name} at the barrier")
        yield Pause.BARRIER
        log.append(f"{name} behind it")
        return GOOD

    assert at_once([steps("fast", 0), steps("slow", 3)], lambda: None) == [GOOD, GOOD]
    assert log == ["fast at the barrier", "slow at the barrier", "fast behind it", "slow behind it"]


def test_a_single_rehearsal_raises_its_error():
    def steps() -> Generator[Pause, None, Report]:
        yield Pause.WAIT
        raise DemoModeError("it does not fall asleep")

    with pytest.raises(DemoModeError, match="does not fall asleep"):
        at_once([steps()], lambda: None)
