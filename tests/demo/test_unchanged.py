"""When an image need not be built again."""

from pathlib import Path

import pytest

from kotatsu_demo.unchanged import Memory, context_digest


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in {
        ".dockerignore": "*\n!services\n**/__pycache__\n",
        "services/voice/Dockerfile": "FROM base",
        "services/voice/src/voice.py": "speak()",
        "services/voice/src/__pycache__/voice.pyc": "…",
        "README.md": "hello",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(("changed", "counts"), [
    ("services/voice/Dockerfile", True), ("services/voice/src/voice.py", True),
    (".dockerignore", True), ("services/new.py", True),
    ("README.md", False), ("services/voice/src/__pycache__/voice.pyc", False),
])  # fmt: skip
def test_a_change_of_what_images_are_made_from_is_seen(checkout: Path, changed: str, counts: bool):
    before = context_digest(checkout, "services/voice/Dockerfile")
    with (checkout / changed).open("a") as file:
        file.write("\n# changed")
    assert (context_digest(checkout, "services/voice/Dockerfile") != before) is counts


def test_an_image_is_known_by_what_it_was_made_from_and_its_id(tmp_path: Path):
    memory = Memory(tmp_path / "build" / "images.json")
    memory.remember("voice:dev", "digest", "id")
    assert memory.knows("voice:dev", "digest", "id")
    assert not memory.knows("voice:dev", "other", "id")
    assert not memory.knows("voice:dev", "digest", "somebody else's build")
    assert not memory.knows("auth:dev", "digest", "id")
