from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from rows import each

from kotatsu_node.cluster import images
from kotatsu_node.errors import NodeError


@each(
    "tag, names",
    [
        ("voice", ["localhost/voice:latest", "docker.io/library/voice:latest"]),
        ("voice:dev", ["localhost/voice:dev", "docker.io/library/voice:dev"]),
        ("kotatsu/voice:dev", ["localhost/kotatsu/voice:dev", "docker.io/kotatsu/voice:dev"]),
        ("localhost/voice:dev", ["localhost/voice:dev"]),
        ("localhost/kotatsu/voice", ["localhost/kotatsu/voice:latest"]),
        ("registry.test/team/voice:1", ["registry.test/team/voice:1"]),
        ("registry:5000/voice", ["registry:5000/voice:latest"]),
    ],
)
def test_a_pod_may_name_an_image_as_it_was_named_when_built(tag: str, names: list[str]) -> None:
    assert images.names_in_node(tag) == names


def archive(path: Path, **members: bytes) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name.replace("_", "."))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_other_files_are_refused_with_a_sentence(tmp_path: Path) -> None:
    text = tmp_path / "Dockerfile"
    text.write_text("FROM scratch\n")
    with pytest.raises(NodeError, match="no readable archive"):
        images.archive_fingerprint(text)
    with pytest.raises(NodeError, match="no image archive"):
        images.archive_fingerprint(archive(tmp_path / "x.tar", readme=b"hello"))


def test_an_image_whose_tag_went_to_another_is_replaced() -> None:
    present = {
        "localhost/voice:dev": "digest-new",
        "sha256:new": "digest-new",
        "sha256:old": "digest-old",
    }
    assert images.replaced_images(present) == ["sha256:old"]
