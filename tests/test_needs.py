"""What a machine lacks is skipped, and nothing is where it may not be."""

import needs
import pytest


def test_without_what_it_needs_a_test_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(needs.SKIP_NOTHING, raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"^needs helm: there is none$"):
        needs.missing("helm", "there is none")


def test_where_nothing_may_be_skipped_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(needs.SKIP_NOTHING, "1")
    with pytest.raises(pytest.fail.Exception, match=r"^needs helm: there is none$"):
        needs.missing("helm", "there is none")


def test_without_go_there_is_no_kubernetes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(needs.SKIP_NOTHING, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(pytest.skip.Exception, match=r"^needs Kubernetes: .* Go .* none found$"):
        needs.kubernetes()
