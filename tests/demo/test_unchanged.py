"""When an image need not be built again."""

from pathlib import Path

import pytest

from kotatsu_demo.unchanged import Memory, context_digest


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in {
        ".dockerignore": "*\n!services\n!operator\n**/__pycache__\n",
        "services/voice/Dockerfile": "FROM base",
        "services/voice/src/voice.py": "speak()",
        "services/voice/src/__pycache__/voice.pyc": "…",
        "operator/operator.py": "decide()",
        "README.md": "hello",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("changed", [
    "services/voice/Dockerfile", "services/voice/src/voice.py", "operator/operator.py",
    ".dockerignore", "services/new.py",
])  # fmt: skip
def test_a_change_in_the_context_is_seen(checkout: Path, changed: str):
    before = context_digest(checkout, "services/voice/Dockerfile")
    with (checkout / changed).open("a") as file:
        file.write("\n# changed")
    assert context_digest(checkout, "services/voice/Dockerfile") != before


@pytest.mark.parametrize("changed", ["README.md", "services/voice/src/__pycache__/voice.pyc"])
def test_what_no_image_is_made_from_does_not_count(checkout: Path, changed: str):
    before = context_digest(checkout, "services/voice/Dockerfile")
    (checkout / changed).write_text("changed")
    assert context_digest(checkout, "services/voice/Dockerfile") == before


def test_an_image_is_known_by_what_it_was_made_from_and_its_id(tmp_path: Path):
    memory = Memory(tmp_path / "build" / "images.json")
    memory.remember("voice:dev", "digest", "id")
    assert memory.knows("voice:dev", "digest", "id")
    assert not memory.knows("voice:dev", "other", "id")
    assert not memory.knows("voice:dev", "digest", "somebody else's build")
    assert not memory.knows("auth:dev", "digest", "id")


def test_an_image_that_is_gone_is_not_known(tmp_path: Path):
    memory = Memory(tmp_path / "images.json")
    memory.remember("voice:dev", "digest", "")
    assert not memory.knows("voice:dev", "digest", "")


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_spoiled_memory_is_forgotten(tmp_path: Path, text: str):
    (tmp_path / "images.json").write_text(text)
    memory = Memory(tmp_path / "images.json")
    assert not memory.knows("voice:dev", "digest", "id")
    memory.remember("voice:dev", "digest", "id")
    assert memory.knows("voice:dev", "digest", "id")
