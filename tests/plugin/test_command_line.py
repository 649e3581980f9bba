"""What can be said, what completes it, and what kubectl may answer."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from plugin.kit import demo_mode
from rows import each

from kotatsu_demo_mode.api import Api, explain
from kotatsu_demo_mode.cli import details, examples, parser
from kotatsu_demo_mode.completion import candidates
from kotatsu_demo_mode.errors import DemoModeError, NotFoundError


def next_words(*words: str) -> list[str]:
    def names(_: object, *, windows: bool = False) -> list[str]:
        return ["final-pitch", "rehearsal"] if windows else ["auth", "voice"]

    return candidates(words, parser(), names)


def test_completion_knows_commands_pools_flags_and_their_values():
    assert next_words("re") == ["report", "rehearse", "restore"]
    assert next_words("on", "") == ["auth", "voice"]
    assert next_words("on", "auth", "") == ["voice"]
    assert next_words("off", "--no") == ["--now"]
    assert next_words("plan", "-o", "") == ["json", "yaml"]
    assert next_words("status", "-o", "") == ["json", "yaml", "wide"]
    assert next_words("completion", "") == ["bash", "zsh", "fish"]
    assert next_words("check", "warm") == ["warmpool/auth", "warmpool/voice"]
    assert next_words("create", "--wi") == ["--window"]


def test_completion_knows_the_windows_and_where_pools_come_after_them():
    assert next_words("window", "") == ["add", "import", "list", "remove"]
    assert next_words("window", "remove", "") == ["final-pitch", "rehearsal"]
    assert next_words("window", "remove", "final-pitch", "-n", "demo", "") == ["auth", "voice"]
    assert next_words("window", "add", "") == []
    assert next_words("window", "add", "talk", "--at", "18:30", "v") == ["voice"]
    assert next_words("window", "import", "") == []
    assert next_words("window", "import", "pitch.ics", "") == ["auth", "voice"]
    assert next_words("window", "list", "") == ["auth", "voice"]
    assert next_words("window", "add", "--sch") == ["--schedule"]


@each("command", list(examples()))
def test_the_help_shows_what_else_there_is_to_know_and_the_examples(
    command: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        demo_mode(*command.split(), "--help")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert examples()[command] in shown
    assert details().get(command, "") in shown
    assert set(details()) <= set(examples())


@each(
    "words, said",
    [
        ("onn voice", "invalid choice: 'onn'"),
        ("on voice --replicas many", "'many' is not a whole number of at least 1"),
        ("plan --days 0", "'0' is not a whole number of at least 1"),
        ("cost --lambda-price cheap", "'cheap' is not an amount like 0.0000041667"),
        ("rehearse voice auth", "unrecognized arguments: auth"),
        ("plan -o wide", "argument -o/--output: invalid choice: 'wide'"),
        ("window", "the following arguments are required: ACTION"),
        ("window add talk", "one of the arguments --at --schedule is required"),
        ("window add talk --at 18:30 --replicas 0", "'0' is not a whole number of at least 1"),
        ("", "the following arguments are required: COMMAND"),
    ],
)
def test_what_is_not_understood_is_one_sentence_and_code_2(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        demo_mode(*words.split())
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert said in error
    assert error.count("\n") == 1
    assert "--help`" in error


@each(
    "status, body, sentence",
    [
        (401, "Unauthorized", "log in again"),
        (403, '{"message": "pods is forbidden"}', "you have no permission: pods is forbidden"),
        (404, "404 page not found", "this cluster has no CRD warmpools.kotatsu.dev"),
        (
            422,
            '{"message": "spec is odd"}',
            "the API server rejected it: spec is odd; correct that",
        ),
        (500, "dial tcp: connection refused", "the API server does not answer: dial tcp"),
        (502, "dial tcp: connection refused", "the API server does not answer: dial tcp"),
    ],
)
def test_each_refusal_of_the_api_has_its_next_step(status: int, body: str, sentence: str):
    assert sentence in str(explain(status, body))


def test_an_object_that_is_missing_is_told_from_a_missing_crd():
    assert isinstance(explain(404, '{"message": "warmpools \\"x\\" not found"}'), NotFoundError)
    assert not isinstance(explain(404, "404 page not found"), NotFoundError)
    assert isinstance(explain(500, ""), DemoModeError)


def test_without_kubectl_it_says_what_to_install(tmp_path: Path):
    ran = demo_mode("status", "-n", "x", kubectl=str(tmp_path / "kubectl"))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == ("error: kubectl is not on the PATH; install it and try again\n")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'error: exec plugin: no such login' >&2; exit 1", "exec plugin: no such login"),
        ("exit 1", "kubectl ended without a message"),
        ("echo Starting to serve on nowhere", "kubectl proxy does not answer"),
        ("echo 'Please enter Username: '; exec sleep 30", "Please enter Username"),
    ],
)
def test_a_kubectl_that_gives_up_is_quoted(tmp_path: Path, script: str, said: str):
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f"#!/bin/sh\n{script}\n")
    kubectl.chmod(0o755)
    ran = demo_mode("status", "-n", "x", kubectl=str(kubectl))
    assert (ran.code, ran.out) == (1, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1


KUBECTL = """#!/bin/sh
case $1 in
proxy) touch "{home}/started"; exec sleep 30 ;;
config) for _ in $(seq 100); do [ -e "{home}/started" ] && exec echo demo; sleep 0.1; done ;;
esac
"""


def test_kubectl_names_the_namespace_while_its_proxy_starts(tmp_path: Path):
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL.format(home=tmp_path))
    kubectl.chmod(0o755)
    with Api(kubectl=str(kubectl)) as api:
        assert api.namespace() == "demo"


IGNORES = """#!/bin/sh
grep SigIgn /proc/$$/status > "{home}/$1"
"""


def test_ctrl_c_does_not_end_a_kubectl_which_may_have_to_undo_what_was_begun(tmp_path: Path):
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(IGNORES.format(home=tmp_path))
    kubectl.chmod(0o755)
    with Api(kubectl=str(kubectl)) as api:
        api.namespace()
        ignored = (tmp_path / "config").read_text().split()[1]
    assert int(ignored, 16) & 1 << signal.SIGINT - 1


def test_a_busy_api_server_is_asked_again(monkeypatch: pytest.MonkeyPatch):
    answers = iter([(429, "storage is (re)initializing"), (200, '{"items": []}')])
    waited: list[float] = []
    api = Api(sleep=waited.append)
    monkeypatch.setattr(api, "_answer", lambda *_: next(answers))
    assert api.get("/api/v1/pods") == {"items": []}
    assert waited == [1.0]


def test_an_object_nested_too_deeply_for_python_is_read(monkeypatch: pytest.MonkeyPatch):
    api, deep = Api(), '{"f:a":' * 9_900 + "{}" + "}" * 9_900
    answer = '{"items": [{"metadata": {"name": "voice", "managedFields": DEEP}}]}'
    monkeypatch.setattr(api, "_answer", lambda *_: (200, answer.replace("DEEP", deep)))
    assert api.get("/api/v1/pods")["items"][0]["metadata"]["name"] == "voice"


def test_what_status_does_not_need_is_not_imported():
    """Its start is mostly imports. Each of these takes milliseconds of it each time."""
    unneeded = {
        "asyncio",
        "dateutil",
        "icalendar",
        "yaml",
        "kotatsu_demo_mode.check",
        "kotatsu_demo_mode.plan",
        "kotatsu_operator.core.decide.decide",
        "kotatsu_operator.core.pool.decision",
        "kotatsu_operator.core.suggest",
    }
    code = (
        "import sys; from kotatsu_demo_mode import __main__, api, cli, status; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert unneeded & {*done.stdout.split()} == set()


def test_flags_of_kubectl_may_stand_before_any_command(capsys: pytest.CaptureFixture[str]):
    for command in ("status", "on", "restore", "completion"):
        for words in ([command, "-h"], ["-n", "demo", command, "-h"]):
            with pytest.raises(SystemExit) as ended:
                demo_mode(*words)
            assert ended.value.code == 0
            assert capsys.readouterr().out.startswith(f"usage: kubectl demo-mode {command} ")
