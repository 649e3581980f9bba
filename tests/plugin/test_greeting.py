"""`check` and `create` know an app whose server speaks first: no client of it wakes a pool."""

import socket
import sys
import threading
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from plugin.kit import EVENINGS, demo_mode
from plugin.setups import Objects, Recorded, changed, container, good, warm_pool
from plugin.test_check import bad, check, finding
from plugin.test_create import WINDOWS
from rows import each

from kotatsu_demo_mode.api import Api
from kotatsu_demo_mode.errors import DemoModeError

GREETING = b"J\0\0\0\n11.4.2-MariaDB\0"


SETTINGS = b"\0\0\x06\x04\0\0\0\0\0" + b"\0\5\0\0\x40\0" + b"\0\0\0\x04\1\0\0\0\0"
"""What a gRPC server sends first: a frame of RFC 9113 with one setting, and an acknowledgment."""


def served(**port: Any) -> Objects:
    """An app without a probe in HTTP, behind this port of its Service."""

    def change(objects: Objects) -> None:
        container(objects)["readinessProbe"] = {"tcpSocket": {"port": 3306}, "periodSeconds": 1}
        container(objects)["ports"] = [{"name": "db", "containerPort": 3306}]
        objects[1]["spec"]["ports"] = [{"targetPort": 3306, **port}]

    return changed(change)


MARIADB = served(port=3306)
OTHER = served(port=80, targetPort="db", name="db")
OTHER[0]["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] = 9000
HEARD = {"web-1:9000": GREETING}


def test_mariadb_is_known_by_its_port_and_check_says_that_no_client_wakes_it():
    answer = check(MARIADB, pages={})
    assert bad(answer) == [("greeting", "ServerSpeaksFirst")]
    said = finding(answer, "ServerSpeaksFirst")
    assert said["level"] == "warning"
    assert "on port 3306 (mysql) of Service web the server speaks first" in said["message"]
    assert "Add windows for its hours" in said["message"]


@each(
    "more",
    [
        [warm_pool(route="Activator", windows=[EVENINGS])],
        [
            warm_pool(route="Activator"),
            warm_pool("shop", dependsOn=["web"], targetRef={"name": "s"}),
        ],
    ],
)
def test_where_something_else_wakes_the_pool_that_is_a_note(more: Objects):
    answer = check([*MARIADB, *more], "warmpool/web", pages={})
    assert bad(answer) == []
    assert finding(answer, "ServerSpeaksFirst")["level"] == "note"


def test_on_another_port_a_server_is_heard_and_refused_until_the_service_says_so():
    answer = check(OTHER, pages={}, greetings=HEARD)
    said = finding(answer, "GreetingNotNamed")
    assert said["level"] == "refused"
    assert (
        "pod web-1 speaks first on port 9000 ('J\\x00\\x00\\x00\\n11.4.2-MariaDB\\x00')"
        in (said["message"])
    )
    assert "Add `appProtocol: kotatsu.dev/server-first` to that port" in said["message"]
    named = changed_port(OTHER, appProtocol="kotatsu.dev/server-first")
    answer = check(named, pages={}, greetings=HEARD)
    assert bad(answer) == [("greeting", "ServerSpeaksFirst")]
    assert "on port 80 of Service web" in finding(answer, "ServerSpeaksFirst")["message"]


def changed_port(objects: Objects, **fields: str) -> Objects:
    service = objects[1]
    ports = [service["spec"]["ports"][0] | fields]
    return [objects[0], service | {"spec": service["spec"] | {"ports": ports}}, *objects[2:]]


@each(
    "objects, greetings",
    [
        (OTHER, {}),
        (OTHER, {"web-1:9000": b"SSH-2.0-OpenSSH_9.9\r\n"}),  # both sides begin
        (OTHER, {"web-1:9000": SETTINGS}),  # so do they in HTTP/2, as in gRPC
        (OTHER, {"web-1:9000": SETTINGS[:9].replace(b"\x06", b"\0")}),  # without a setting
        (changed_port(OTHER, appProtocol="http"), HEARD),  # its owner says what it is
    ],
)
def test_a_server_that_waits_for_its_client_has_nothing_to_mend(
    objects: Objects, greetings: dict[str, bytes]
):
    answer = check(objects, pages={}, greetings=greetings)
    assert bad(answer) == []
    assert [f["level"] for f in answer["findings"] if f["check"] == "greeting"] == ["ok"]


def test_a_port_that_the_kubelet_asks_in_http_is_not_listened_to():
    cluster = Recorded(good(), {})
    demo_mode("check", "web", cluster=cluster)
    assert "demo/web-1:8080" not in cluster.reads
    cluster = Recorded(OTHER, {})
    demo_mode("check", "web", cluster=cluster)
    assert cluster.reads.count("demo/web-1:9000") == 1


@each(
    "objects, denied, said",
    [
        (OTHER, ("pods/portforward",), "cannot create pods/portforward"),
        ([o for o in OTHER if o["metadata"]["name"] != "web-1"], (), "no pod is Ready"),
    ],
)
def test_where_no_pod_can_be_heard_that_is_not_checked(
    objects: Objects, denied: tuple[str, ...], said: str
):
    answer = check(objects, pages={}, denied=denied)
    [of] = [f for f in answer["findings"] if f["check"] == "greeting"]
    assert of["level"] == "unknown"
    assert said in of["message"]


# --- a worker ---

DEAF = {"web-1:9000": None}


def test_a_worker_behind_a_service_is_told_what_wakes_it_and_how_its_job_ends():
    objects = deepcopy(OTHER)
    container(objects).pop("readinessProbe")
    container(objects).pop("lifecycle")
    answer = check(objects, pages={}, greetings=DEAF)
    assert bad(answer) == [("worker", "Worker")]
    said = finding(answer, "Worker")["message"]
    assert "nothing listens on port 9000 of pod web-1, so no request wakes it: only windows" in said
    assert "Each sleep ends its job: SIGTERM, and SIGKILL 40 s later. Add windows" in said


def test_a_worker_with_windows_has_nothing_to_mend():
    pool = warm_pool(route="Activator", windows=[EVENINGS])
    answer = check([*OTHER, pool], "warmpool/web", pages={}, greetings=DEAF)
    assert bad(answer) == []
    assert finding(answer, "Worker")["level"] == "note"


def test_create_applies_no_pool_of_a_worker_that_would_sleep_for_ever():
    cluster = Recorded(OTHER, {}, greetings=DEAF)
    ran = demo_mode("create", "web", "--apply", "--yes", cluster=cluster)
    assert (ran.code, cluster.made) == (1, [])
    assert "Worker: nothing listens on port 9000" in ran.err
    assert demo_mode("create", "web", "--apply", "--yes", *WINDOWS, cluster=cluster).code == 0


# --- create ---


def test_create_applies_no_pool_that_would_sleep_and_that_no_client_could_wake():
    cluster = Recorded(MARIADB, {})
    ran = demo_mode("create", "web", "--apply", "--yes", cluster=cluster)
    assert (ran.code, cluster.made) == (1, [])
    assert "ServerSpeaksFirst: on port 3306 (mysql)" in ran.err
    assert "give the pool a --window, or apply what `create` prints without --apply" in ran.err
    printed = demo_mode("create", "web", cluster=cluster)
    assert printed.code == 0
    assert "# ServerSpeaksFirst: on port 3306 (mysql) of Service web" in printed.out


def test_with_a_window_or_a_pool_that_depends_on_it_create_applies_it():
    cluster = Recorded(MARIADB, {})
    assert demo_mode("create", "web", "--apply", "--yes", *WINDOWS, cluster=cluster).code == 0
    shop = warm_pool("shop", dependsOn=["web"], targetRef={"name": "shop"}, service="shop")
    cluster = Recorded([*MARIADB, shop], {})
    assert demo_mode("create", "web", "--apply", "--yes", cluster=cluster).code == 0


def test_create_makes_nothing_for_a_greeting_that_the_service_does_not_name():
    ran = demo_mode("create", "web", cluster=Recorded(OTHER, {}, greetings=HEARD))
    assert ran.code == 1
    assert "GreetingNotNamed: pod web-1 speaks first" in ran.err


# --- how it listens ---

KUBECTL = """#!/bin/sh
"exec" "{python}" "$0" "$@"
import sys, time
if {fails}:
    sys.exit("Error from server (Forbidden): you may not")
assert sys.argv[1:4] == ["port-forward", "pod/web-1", ":3306"], sys.argv
print({error!r}, file=sys.stderr, flush=True)
print("Forwarding from 127.0.0.1:{port} -> 3306", flush=True)
time.sleep(60)
"""


def kubectl(tmp_path: Path, port: int = 0, *, fails: bool = False, error: str = "") -> str:
    """A kubectl that forwards to a port of this machine."""
    made = tmp_path / "kubectl"
    text = KUBECTL.format(python=sys.executable, port=port, fails=fails, error=error)
    made.write_text(text)
    made.chmod(0o755)
    return str(made)


@pytest.mark.parametrize("says", [GREETING, b""])
def test_it_connects_through_kubectl_and_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: bytes
):
    monkeypatch.setattr("kotatsu_demo_mode.api._GREETED_WITHIN", 0.5 if says else 0.05)
    got = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            there, _ = server.accept()
            with there:
                there.sendall(says)
                got.append(there.recv(1024))

        thread = threading.Thread(target=serve)
        thread.start()
        with Api(kubectl=kubectl(tmp_path, server.getsockname()[1])) as api:
            assert api.greeting("demo", "web-1", 3306) == says
        thread.join()
    assert got == [b""]


@each(
    "error, heard",
    [
        (
            "an error occurred forwarding: dial tcp4 127.0.0.1:3306: connect: connection refused",
            None,
        ),
        ("", b""),  # a server that hangs up
    ],
)
def test_where_nothing_listens_kubectl_says_so_and_ends_the_connection(
    tmp_path: Path, error: str, heard: bytes | None
):
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].close())
        thread.start()
        with Api(kubectl=kubectl(tmp_path, server.getsockname()[1], error=error)) as api:
            assert api.greeting("demo", "web-1", 3306) == heard
        thread.join()


def test_what_kubectl_says_is_the_reason_that_nothing_was_heard(tmp_path: Path):
    with Api(kubectl=kubectl(tmp_path, fails=True)) as api, pytest.raises(DemoModeError) as said:
        api.greeting("demo", "web-1", 3306)
    assert "you may not" in str(said.value)
