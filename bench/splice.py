"""The activator's splice: requests, delay, held connections and bytes, each against none between.

Client (wrk), activator and pod share one core, so that a request costs what it costs; the machine's
other cores have no part in it. Route Activator, keep-alive: the way on which the activator stays.
"""

import contextlib
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import wrk
from kotatsu_node.cluster.control_plane import free_ports
from report import Row
from samples import Samples, amount
from topic import again, main, progress, unmeasured
from wrk import Load

# isort: split
from tests.operator.activator import processes

CORE = max(os.sched_getaffinity(0))
CLIENTS = 32
HELD = 10_000
HEAD = b"GET %s HTTP/1.1\r\nHost: voice.demo.svc\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
MEBIBYTE, GIBIBYTE = 2**20, 2**30

LOAD_HOW = (
    f"wrk with {CLIENTS} keep-alive connections, activator and pod on one core, in turns with wrk "
    "and pod alone"
)
RATE = "splice: requests/s through the activator ÷ direct"
DELAY = "splice: p50 through the activator ÷ direct"
WORST = "splice: requests/s ÷ direct, of a pod that costs nothing"
MEMORY = f"splice: memory for {HELD:,} held connections"
RATE_GOAL, DELAY_GOAL, MEMORY_GOAL = "≥ 0.5", "≤ 2", "≤ 60 MiB"


def rows(quick: bool) -> list[Row]:
    """Each in turn."""
    turns, seconds, size = (4, 1.0, GIBIBYTE // 4) if quick else (20, 2.0, GIBIBYTE)
    return [*_loads(turns, seconds), _held(), *_bodies(3 if quick else 10, size)]


# --- requests ---


@contextlib.contextmanager
def _warm(pod: int, cpu: int | None = None) -> Iterator[processes.ActivatorProcess]:
    with processes.activator("Activator", "Warm", cpu=cpu) as started:
        started.say(f"pod {pod}")
        processes.until(lambda: _answers(started.port))
        yield started


def _answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
        one.sendall(HEAD % b"/")
        return one.recv(2**16).startswith(b"HTTP/1.1 200")


def _in_turns(pod: int, turns: int, seconds: float) -> tuple[list[tuple[Load, Load]], float]:
    """(through, direct) of each turn, and the activator's requests for a second of its CPU."""
    with _warm(pod, CORE) as activator:
        measured, requests, cpu = [], 0.0, 0.0
        for turn in range(-1, turns):
            before = activator.cpu
            through = wrk.run(activator.port, CLIENTS, seconds, CORE)
            spent = activator.cpu - before
            direct = wrk.run(pod, CLIENTS, seconds, CORE)
            if turn >= 0:
                measured.append((through, direct))
                requests, cpu = requests + through.per_second * seconds, cpu + spent
    return measured, requests / max(cpu, 0.01)


def _loads(turns: int, seconds: float) -> list[Row]:
    if why := wrk.why_not():
        return [
            unmeasured(RATE, LOAD_HOW, why, RATE_GOAL, "splice"),
            unmeasured(DELAY, LOAD_HOW, why, DELAY_GOAL, "splice"),
            unmeasured(WORST, LOAD_HOW, why, "", "splice"),
        ]
    progress.say("  a small app behind it")
    with _small_app() as port:
        usual, _ = _in_turns(port, turns, seconds)
    progress.say("  a pod that costs nothing behind it")
    with processes.pod(CORE) as port:
        worst, each = _in_turns(port, turns, seconds)
    return [*_judged(usual), _worst(worst, each)]


@contextlib.contextmanager
def _small_app() -> Iterator[int]:
    [port] = free_ports(1)
    script = Path(__file__).with_name("small_app.py")
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"PORT": str(port)},
        preexec_fn=lambda: os.sched_setaffinity(0, {CORE}),
    )
    try:
        processes.until(lambda: _listens(port))
        yield port
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(ConnectionError):
        return _answers(port)
    return False


def _judged(measured: list[tuple[Load, Load]]) -> list[Row]:
    failed = sum(through.failed for through, _ in measured)
    how = f"{LOAD_HOW}; the pod is bench/small_app.py; {failed} requests failed"
    rates = Samples.of((through.per_second for through, _ in measured), "requests/s")
    rate = Samples.of((a.per_second / b.per_second for a, b in measured), "")
    delays = Samples.of(through.p50 for through, _ in measured)
    delay = Samples.of((a.p50 / b.p50 for a, b in measured), "")
    p50, p99 = (Samples.of(getattr(b, name) for _, b in measured) for name in ("p50", "p99"))
    tail = Samples.of(through.p99 for through, _ in measured)
    return [
        Row(
            RATE,
            f"{how}; ratio of each turn: {rate.spread}",
            rates.text,
            rates.spread,
            len(measured),
            RATE_GOAL,
            rate.median,
            failed == 0 and rate.median >= 0.5,
            again("splice"),
        ),
        Row(
            DELAY,
            f"{how}; p99 {tail.text}; direct: p50 {p50.text}, p99 {p99.text}",
            delays.text,
            delays.spread,
            len(measured),
            DELAY_GOAL,
            delay.median,
            failed == 0 and delay.median <= 2,
            again("splice"),
        ),
    ]


def _worst(measured: list[tuple[Load, Load]], each: float) -> Row:
    """No goal: here HAProxy, in C, halves the rate as well."""
    rates = Samples.of((through.per_second for through, _ in measured), "requests/s")
    ratio = Samples.of((a.per_second / b.per_second for a, b in measured), "")
    return Row(
        WORST,
        f"{LOAD_HOW}; the pod does nothing but answer (uvloop, no parsing); for each second of its "
        f"own CPU the activator carries {amount(each, 'requests')}; ratio of each turn: "
        f"{ratio.spread}",
        rates.text,
        rates.spread,
        len(measured),
        "",
        ratio.median,
        None,
        again("splice"),
    )


# --- held ---


def _held() -> Row:
    how = "a sleeping pool, a GET of each, memory of the process beside what it has when idle"
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2 * HELD:
        why = f"a process may not have {2 * HELD:,} open files here (ulimit -Hn)"
        return unmeasured(MEMORY, how, why, MEMORY_GOAL, "splice")
    with contextlib.ExitStack() as opened:
        activator = opened.enter_context(processes.activator("Auto", "Asleep"))
        pod = opened.enter_context(processes.pod())
        idle = activator.mib()
        clients = [
            opened.enter_context(socket.create_connection(("127.0.0.1", activator.port), 30))
            for _ in range(HELD)
        ]
        for client in clients:
            client.sendall(HEAD % b"/hello")
        processes.until(lambda: activator.metric("kotatsu_activator_held") == HELD, 60)
        held = activator.mib()
        progress.say(f"  {HELD:,} held in {held - idle:.1f} MiB")
        began, cpu = time.monotonic(), activator.cpu
        activator.say(f"pod {pod}")
        answered = 0
        for client in clients:
            answered += client.recv(2**16).startswith(b"HTTP/1.1 200")
            client.close()
        took, cpu = time.monotonic() - began, activator.cpu - cpu
        most = activator.mib("VmHWM")
    return Row(
        MEMORY,
        f"{how}; then a pod appears: {answered:,} answered in {amount(took)} for {amount(cpu)} of "
        "CPU",
        amount(held - idle, "MiB"),
        f"idle {idle:.0f} MiB, held {held:.0f} MiB, at the most {most:.0f} MiB",
        1,
        MEMORY_GOAL,
        None,
        held - idle <= 60 and answered == HELD,
        again("splice"),
    )


# --- bytes ---


def _bodies(turns: int, size: int) -> list[Row]:
    with processes.pod() as pod, _warm(pod) as activator:
        return [
            _body(name, carry, activator, pod, turns, size)
            for name, carry in (("download", processes.download), ("upload", processes.upload))
        ]


def _body(
    name: str,
    carry: Callable[[int, int], None],
    activator: processes.ActivatorProcess,
    pod: int,
    turns: int,
    size: int,
) -> Row:
    rates, ratios, cpu = [], [], 0.0
    carry(activator.port, MEBIBYTE)
    before = activator.mib("VmHWM")
    for _ in range(turns):
        spent = activator.cpu
        through, direct = (_gib_a_second(carry, port, size) for port in (activator.port, pod))
        cpu += activator.cpu - spent
        rates.append(through)
        ratios.append(through / direct)
        progress.say(f"  {name}: {through:.2f} GiB/s, direct {direct:.2f}")
    grown = activator.mib("VmHWM") - before
    return Row(
        f"splice: {name} of {size / GIBIBYTE:g} GiB",
        f"one connection; {Samples.of(ratios, '').text} of what the pod alone gets, in turns; the "
        f"activator carries {turns * size / GIBIBYTE / max(cpu, 0.01):.1f} GiB for each second of "
        f"its CPU; its memory grew by {grown:.1f} MiB",
        Samples.of(rates, "GiB/s").text,
        Samples.of(rates, "GiB/s").spread,
        turns,
        "≤ 4 MiB more memory",
        None,
        grown <= 4,
        again("splice"),
    )


def _gib_a_second(carry: Callable[[int, int], None], port: int, size: int) -> float:
    began = time.monotonic()
    carry(port, size)
    return size / GIBIBYTE / (time.monotonic() - began)


if __name__ == "__main__":
    main(rows)
