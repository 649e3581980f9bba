"""What a machine lacks is skipped, and nothing is where it may not be."""

import resource
from pathlib import Path

import needs
import pytest

from kotatsu_node.build import published


def test_without_what_it_needs_a_test_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(needs.SKIP_NOTHING, raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"^needs helm: there is none$"):
        needs.missing("helm", "there is none")


def test_where_nothing_may_be_skipped_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(needs.SKIP_NOTHING, "1")
    with pytest.raises(pytest.fail.Exception, match=r"^needs helm: there is none$"):
        needs.missing("helm", "there is none")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without Go and with nothing built."""
    monkeypatch.delenv(needs.SKIP_NOTHING, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("KOTATSU_CACHE", str(tmp_path))


@pytest.mark.usefixtures("bare")
def test_without_go_there_is_no_kubernetes_that_cannot_be_downloaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(published, "of", lambda _: None)
    with pytest.raises(pytest.skip.Exception, match=r"^needs Kubernetes: .* Go .* none found$"):
        needs.kubernetes()


@pytest.mark.usefixtures("bare")
def test_one_that_can_be_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "of", lambda _: published.Published("v1.37.1", ()))
    with pytest.raises(pytest.skip.Exception, match=r"`make programs` downloads or builds"):
        needs.kubernetes()


def test_a_machine_that_allows_too_few_open_files_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(needs.SKIP_NOTHING, raising=False)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    needs.open_files(1024)
    with pytest.raises(pytest.skip.Exception, match=r"needs 1025 open files: .* allows 1024"):
        needs.open_files(1025)
