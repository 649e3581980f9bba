"""The command line: what it says when things go wrong."""

from typing import NoReturn

import pytest

from kotatsu_demo import cli, facts
from kotatsu_demo.choice import Facts
from kotatsu_demo.errors import DemoError


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "look", lambda: Facts(system="darwin"))


@pytest.mark.usefixtures("bare_machine")
@pytest.mark.parametrize("command", ["show", "images", "down"])
def test_where_nothing_is_possible_it_exits_with_2_and_says_what_to_do(
    command: str, capsys: pytest.CaptureFixture[str]
):
    assert cli.run([command]) == 2
    said = capsys.readouterr().err
    assert "needs Linux (this is darwin)" in said
    assert "install Docker and kind" in said
    assert "make demo" not in said  # it was not asked for


def test_an_ordinary_user_without_docker_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(facts, "look", lambda: Facts(programs=frozenset({"go", "apt-get"})))
    assert cli.run(["show"]) == 2
    assert capsys.readouterr().err.strip() == (
        "error: there is no cluster to use, since Docker is not installed and the node without "
        "Docker needs root: run it with sudo, or install Docker and kind, or name a cluster of "
        "yours with CONTEXT=name"
    )


@pytest.mark.parametrize(("command", "again"), [
    ("show", "`make demo` goes on"), ("images", "`make images` goes on"),
    ("down", "`make down` goes on"),
])  # fmt: skip
def test_an_interrupted_run_says_how_to_go_on_and_how_to_clean_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, again: str
):
    def interrupt() -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(facts, "look", interrupt)
    assert cli.run([command]) == 130
    said = capsys.readouterr().err
    assert again in said
    assert "make down" in said


def test_a_failure_is_a_sentence_with_its_log_and_the_next_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail() -> NoReturn:
        raise DemoError("it broke", log="line 1\nline 2", hint="mend it")

    monkeypatch.setattr(facts, "look", fail)
    assert cli.run(["show"]) == 1
    assert capsys.readouterr().err == "\nerror: it broke\n  | line 1\n  | line 2\ntry: mend it\n"


def test_the_images_can_be_listed_anywhere(capsys: pytest.CaptureFixture[str]):
    assert cli.run(["images", "--list"]) == 0
    said = capsys.readouterr().out
    assert "docker build --file images/Dockerfile --build-arg FOLDER=operator " in said
    assert " --tag localhost/kotatsu-operator:dev .\n" in said


def test_facts_come_from_the_environment():
    found = facts.look({"CONTEXT": "kind-mine", "IMAGE_PREFIX": "registry.example/me/"})
    assert (found.context, found.image_prefix) == ("kind-mine", "registry.example/me")
