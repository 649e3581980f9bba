"""The command line: what it says when things go wrong."""

import pytest
from rows import each

from kotatsu_demo import cli, facts
from kotatsu_demo.choice import Facts
from kotatsu_demo.errors import DemoError


@each("command, target", [("show", "make demo"), ("images", "make images"), ("down", "make down")])
def test_it_says_what_to_do_where_nothing_is_possible_and_after_an_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, target: str
):
    monkeypatch.setattr(facts, "look", lambda: Facts(system="darwin"))
    assert cli.run([command]) == (0 if command == "down" else 2)
    said = capsys.readouterr().err
    if command == "down":
        assert said == "no cluster of Kotatsu's is up\n"
    else:
        assert "needs Linux (this is darwin)" in said
        assert "install Docker and kind" in said

    monkeypatch.setattr(facts, "look", fails_with(KeyboardInterrupt()))
    assert cli.run([command]) == 130
    said = capsys.readouterr().err
    assert f"`{target}` goes on" in said
    assert "make down" in said


def test_a_failure_is_a_sentence_with_its_log_and_the_next_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    error = DemoError("it broke", log="line 1\nline 2", hint="mend it")
    monkeypatch.setattr(facts, "look", fails_with(error))
    assert cli.run(["show"]) == 1
    assert capsys.readouterr().err == "\nerror: it broke\n  | line 1\n  | line 2\ntry: mend it\n"


def fails_with(error: BaseException):
    def look() -> Facts:
        raise error

    return look
