"""A cold request to the sleeping voice until its first sound, and where the time goes."""

import asyncio
import json
import time
from dataclasses import replace
from datetime import datetime

from cluster import (
    App,
    Kubectl,
    NoClusterError,
    built,
    eventually,
    helm_install,
    platform,
    service_ip,
)
from coldstart import Start, Starts, small_app, twin
from http1 import request
from report import Row
from samples import Samples, parts
from speech import SHORT, speak
from topic import again, main, progress, unmeasured

WHAT = "wake of the voice: cold request to its first sound, in seconds"
ALONE = "the same ÷ what the voice's pod alone needs for it"
SMALL = "the same ÷ floor of a small app"
GOAL = "≤ 1 s"
HOW = f"POST /voice?stream=true with {len(SHORT)} characters, Open JTalk; in turns"
AGAIN = again("first_sound")
SAY = speak(SHORT, "/voice?stream=true")
CLUSTER = ("scale written", "pod created", "scheduled", "sandbox", "container")
VOICE = (*CLUSTER, "imports", "engine", "first words", "request", "first sound")
SMALL_APP = (*CLUSTER, "address known", "answer")
"""Stages of cold starts, in their order."""


async def rows(quick: bool) -> list[Row]:
    """Cold starts in turns: the voice through its pool, the voice alone, a small app alone."""
    runs = 2 if quick else 10
    try:
        with platform("voice", "routeSettle=1s") as kubectl:
            async with Starts.watching(kubectl) as starts:
                return _judged(*await _measure(starts, runs))
    except NoClusterError as error:
        return [
            unmeasured(WHAT, HOW, str(error), GOAL, "first_sound"),
            unmeasured(ALONE, HOW, str(error), "", "first_sound"),
            unmeasured(SMALL, HOW, str(error), "", "first_sound"),
        ]


def install_voice(kubectl: Kubectl) -> None:
    """The pet's voice, which ends at once: nobody's request is in flight when it is told to."""
    off = ("auth.enabled=false", "feed.enabled=false", "gateway.enabled=false")
    ours = (*built("voice.image", "voice"), "voice.anonymous=true", "voice.pool.idleAfter=10m")
    helm_install(kubectl, "pet", "pet", *ours, *off, wait=False)
    at_once = {"terminationGracePeriodSeconds": 1}
    container = {"name": "voice", "lifecycle": None}
    spec = {"template": {"spec": at_once | {"containers": [container]}}}
    kubectl("patch", "deployment", "voice", "-p", json.dumps({"spec": spec}))


async def _measure(starts: Starts, runs: int) -> tuple[list[Start], list[Start], list[Start]]:
    kubectl = starts.kubectl
    with progress.step("install the voice"):
        install_voice(kubectl)
        same = twin(kubectl.get("deployment", "voice"), "alone")
        kubectl.apply(same, *small_app("small"))
        await eventually("its pool is kept", App("voice", kubectl).phase)
        await starts.to_sleep("voice")
    address = service_ip(kubectl, "voice")
    pooled, alone, small = [], [], []
    for number in range(-1, runs):
        wake = await starts.wake(address, "voice", SAY)
        wake = replace(wake, stages=wake.stages | _log_stages(kubectl, wake))
        await starts.to_sleep("voice")
        floor = await starts.floor("small", "small", request("GET", "/"))
        await starts.down("small", "small")
        await asyncio.sleep(0.5)
        bare = await starts.floor("alone", "alone", SAY)
        await starts.down("alone", "alone")
        await asyncio.sleep(0.5)
        if number >= 0:  # the first warms the caches
            pooled.append(wake)
            alone.append(bare)
            small.append(floor)
            progress.say(
                f"  {number + 1}: {wake.first:.3f} s; alone {bare.first:.3f} s, small app"
                f" {floor.first:.3f} s"
            )
    return pooled, alone, small


def _log_stages(kubectl: Kubectl, start: Start) -> dict[str, float]:
    """When the stages within the voice's process had ended, by its own log."""
    said = [json.loads(line) for line in kubectl("logs", "deployment/voice").splitlines()]
    began = time.time() - time.perf_counter() + start.began
    ends: dict[str, float] = {}
    for record in said:
        at = datetime.fromisoformat(record["time"]).timestamp() - began
        if record["message"] == "the voice has spoken":
            ends["first words"] = at
            ends["engine"] = at - record["first_words_seconds"]
            ends["imports"] = ends["engine"] - record["engine_seconds"]
        elif record["logger"] == "kotatsu.access":
            ends["request"] = at - record["seconds"]
    return ends


def _judged(pooled: list[Start], alone: list[Start], small: list[Start]) -> list[Row]:
    ours, bare, floor = (Samples.of(s.first for s in starts) for starts in (pooled, alone, small))
    stages = f"of it {_parts(pooled, *VOICE)}"
    also = f"patch the scale, ask the pod itself every 5 ms: {bare.text} ({bare.spread})"
    least = f"floor {floor.text} ({floor.spread}), of it {_parts(small, *SMALL_APP)}"
    spread, runs, first = ours.spread, len(ours), ours.median
    return [
        Row(WHAT, f"{HOW}; {stages}", ours.text, spread, runs, GOAL, first, first <= 1.0, AGAIN),
        Row(ALONE, also, ours.text, spread, runs, "", first / bare.median, None, AGAIN),
        Row(SMALL, least, ours.text, spread, runs, "", first / floor.median, None, AGAIN),
    ]


def _parts(starts: list[Start], *stages: str) -> str:
    """How long each stage took; the last one ends with the first byte."""
    return parts([start.stages | {stages[-1]: start.first} for start in starts], stages)


if __name__ == "__main__":
    main(rows)
