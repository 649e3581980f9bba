"""A cold request to the sleeping voice until its first sound, and where the time goes."""

import asyncio
import json

from cluster import (
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
from samples import Samples, amount
from speech import SHORT, speak
from topic import again, main, progress, unmeasured

WHAT = "wake of the voice: cold request to its first sound ÷ floor of a small app"
ALONE = "the same ÷ what the voice's pod alone needs for it"
GOAL = "≤ 1.8 x floor"
HOW = f"POST /voice?stream=true with {len(SHORT)} characters, Open JTalk; in turns"
AGAIN = again("first_sound")
VOICES = 2
SAY = speak(SHORT, "/voice?stream=true")


async def rows(quick: bool) -> list[Row]:
    """Cold starts in turns: the voice through its pool, the voice alone, a small app alone."""
    runs = 2 if quick else 10
    try:
        with platform("voice") as kubectl:
            async with Starts.watching(kubectl) as starts:
                return _judged(*await _measure(starts, runs))
    except NoClusterError as error:
        return [
            unmeasured(WHAT, HOW, str(error), GOAL, "first_sound"),
            unmeasured(ALONE, HOW, str(error), "", "first_sound"),
        ]


def _install(kubectl: Kubectl) -> None:
    """The pet's voice, which ends at once: nobody's request is in flight when it is told to."""
    off = ("auth.enabled=false", "feed.enabled=false", "gateway.enabled=false")
    ours = (*built("voice.image", "voice"), "voice.anonymous=true", "voice.pool.idleAfter=10m")
    helm_install(kubectl, "pet", "pet", *ours, *off, wait=False)
    at_once = {"terminationGracePeriodSeconds": 1}
    container = {"name": "voice", "lifecycle": None}
    spec = {"template": {"spec": at_once | {"containers": [container]}}}
    kubectl("patch", "deployment", "voice", "-p", json.dumps({"spec": spec}))
    kubectl.patch("warmpool", "voice", {"spec": {"drain": {"routeSettle": "1s"}}})
    kubectl.apply(twin(kubectl, "alone", "voice"), *small_app("small"))


async def _measure(
    starts: Starts, runs: int
) -> tuple[list[Start], list[Start], list[Start], list[dict[str, float]]]:
    kubectl = starts.kubectl
    with progress.step("install the voice"):
        _install(kubectl)
        await eventually("its pool is kept", lambda: _phase(kubectl))
        await starts.to_sleep("voice")
    address = service_ip(kubectl, "voice")
    pooled, alone, small, told = [], [], [], []
    for number in range(-1, runs):
        wake = await starts.wake(address, "voice", SAY)
        steps = _told(kubectl)
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
            told.append(steps)
            progress.say(
                f"  {number + 1}: {wake.first:.3f} s; alone {bare.first:.3f} s, small app"
                f" {floor.first:.3f} s"
            )
    return pooled, alone, small, told


def _phase(kubectl: Kubectl) -> str:
    return str((kubectl.get("warmpool", "voice").get("status") or {}).get("phase", ""))


def _told(kubectl: Kubectl) -> dict[str, float]:
    """What the voice says in its log about its own start, in seconds."""
    for line in kubectl("logs", "deployment/voice").splitlines():
        said = json.loads(line)
        if said["message"] == "the voice has spoken":
            return {name: float(said[name]) for name in said if name.endswith("_seconds")}
    return {}


def _judged(
    pooled: list[Start], alone: list[Start], small: list[Start], told: list[dict[str, float]]
) -> list[Row]:
    ours, bare, floor = (Samples.of(s.first for s in starts) for starts in (pooled, alone, small))
    how = f"{HOW}; {_where(pooled, told)}; floor {floor.text} ({floor.spread})"
    ratio, beside = ours.median / floor.median, ours.median / bare.median
    met = ratio <= 1.8
    also = f"patch the scale, ask the pod itself every 5 ms: {bare.text} ({bare.spread})"
    return [
        Row(WHAT, how, ours.text, ours.spread, len(ours), GOAL, ratio, met, AGAIN),
        Row(ALONE, also, ours.text, ours.spread, len(ours), "", beside, None, AGAIN),
    ]


def _where(pooled: list[Start], told: list[dict[str, float]]) -> str:
    """Medians of the moments at which each stage had ended."""
    ends: dict[str, list[float]] = {}
    for start, steps in zip(pooled, told, strict=True):
        for name, at in start.stages.items():
            ends.setdefault(name, []).append(at)
        at = start.stages.get("container", float("nan"))
        for name, took in steps.items():
            at += took
            ends.setdefault(name.removesuffix("_seconds").replace("_", " "), []).append(at)
    medians = {name: Samples.of(values).median for name, values in ends.items()}
    in_order = sorted(medians.items(), key=lambda item: item[1])
    return "ends of " + ", ".join(f"{name} {amount(at)}" for name, at in in_order)


if __name__ == "__main__":
    main(rows)
