"""What the clients of one pool cost those of another one of the same activator."""

import contextlib
import socket
import time
from pathlib import Path

import needs
import pytest

from tests.operator.activator import processes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
MOST = 10.0
"""Milliseconds of CPU that a read of one connection may take at p99."""
ASK = b"GET / HTTP/1.1\r\nHost: feed\r\n\r\n"


def round_trips(port, number, pause=0.005):
    """Milliseconds of each of so many requests that a client makes one after the other."""
    took = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as made:
        for _ in range(number):
            began = time.monotonic()
            made.sendall(ASK)
            assert made.recv(2**16).endswith(b"ok")
            took.append(1000 * (time.monotonic() - began))
            time.sleep(pause)
    return sorted(took)


@pytest.mark.parametrize("kind", ["pipelined", "few", "dripping", "upload"])
def test_hostile_clients_of_one_pool_cost_another_pools_client_little(kind):
    """Counted in CPU of the activator: others use this machine too."""
    with (
        processes.activator("Activator", "Warm", "--reads") as warm,
        processes.pod() as victim,
        processes.pod() as good,
    ):
        warm.say(f"pod {victim}")
        warm.say(f"feed {good}")
        for port in (warm.port, warm.feed):
            processes.until(lambda port=port: round_trips(port, 1))
        quiet = round_trips(warm.feed, 50)[-1]
        with processes.flood(warm.port, 120, kind):
            time.sleep(0.5)
            cpu, began = warm.cpu, time.monotonic()
            took = round_trips(warm.feed, 100)
            busy = (warm.cpu - cpu) / (time.monotonic() - began)
        p99, most = (1000 * warm.metric(f"test_read_{n}_seconds") for n in ("p99", "most"))
        load = Path("/proc/loadavg").read_text().split()[0]
        processes.figure(
            f"{kind}: a read takes {p99:.2f} ms of CPU at p99, {most:.1f} at the most; "
            f"another pool's client waits {took[len(took) // 2]:.1f} ms, {took[-2]:.1f} at p99, "
            f"{quiet:.1f} without it (activator {busy:.0%} of a core, load {load})"
        )
        assert p99 <= MOST


def test_the_bodies_of_many_clients_leave_no_memory_behind():
    needs.open_files(3000)
    with processes.activator("Activator", "Warm") as warm, processes.pod() as victim:
        warm.say(f"pod {victim}")
        processes.until(lambda: round_trips(warm.port, 1))
        before = warm.mib("VmHWM")
        with processes.flood(warm.port, 1000, "bodies"):
            processes.until(lambda: warm.metric("kotatsu_activator_spliced") >= 1000)
            # Each has sent 128 KiB, and its pod has read them.
            assert warm.mib("VmHWM") - before < 40


LIMIT = 256 * 2**20
"""The memory that the chart gives an activator."""


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "attack",
    [["heads"], ["bodies"], ["unread"], ["heads", "bodies", "unread"]],
    ids=lambda kinds: "+".join(kinds),
)
def test_whatever_clients_keep_it_busy_with_an_activator_stays_within_its_memory(attack):
    """In a cgroup with the chart's limit, the sockets' memory counted with the rest."""
    needs.open_files(18_000 * len(attack))
    with processes.memory_limit(LIMIT) as limit:
        if limit is None:
            pytest.skip("needs cgroup version 1, and root: this limits a process with its sockets")
        with (
            processes.activator("Activator", "Warm", "--memory", str(LIMIT)) as warm,
            processes.pod() as victim,
            processes.pod() as good,
            contextlib.ExitStack() as attacks,
        ):
            limit.add(warm.pid)
            warm.say(f"pod {victim}")
            warm.say(f"feed {good}")
            for port in (warm.port, warm.feed):
                processes.until(lambda port=port: round_trips(port, 1))
            for kind in attack:
                attacks.enter_context(processes.flood(warm.port, 6000, kind))
            took = round_trips(warm.feed, 20, pause=0.2)
            ours, sockets = limit.peak_mib
            held, spliced, refused = (
                warm.metric(f"kotatsu_activator_{name}")
                for name in ("held", "spliced", "refused_total")
            )
            processes.figure(
                f"{' + '.join(attack)}: {ours:.0f} MiB at the most and {sockets:.0f} of sockets; "
                f"held {held:.0f}, spliced {spliced:.0f}, refused {refused:.0f}; another pool's "
                f"client waits {took[len(took) // 2]:.0f} ms, {took[-1]:.0f} at the most"
            )
            attacks.close()
        assert ours + sockets < LIMIT / 2**20
