"""Images from Docker into kind, on every Docker from 24 to 29. Nothing is really built here."""

import os
from pathlib import Path

import pytest
from rows import each

from kotatsu_demo import docker
from kotatsu_demo.docker import Engine
from kotatsu_demo.errors import MissingError
from kotatsu_demo.images import Image
from kotatsu_node import shell
from kotatsu_node.errors import NodeError

TAG = "localhost/kotatsu-voice:dev"
ARCHIVE = Path("/w/voice.tar")


@pytest.mark.parametrize(("said", "known"), [
    ("1.41 linux/amd64", Engine((1, 41), "linux/amd64")),  # Docker 20.10
    ("1.43 linux/amd64", Engine((1, 43), "linux/amd64")),  # Docker 24
    ("1.47 linux/amd64", Engine((1, 47), "linux/amd64")),  # Docker 27
    ("1.48 linux/arm64", Engine((1, 48), "linux/arm64")),  # Docker 28
    ("1.52 linux/arm64", Engine((1, 52), "linux/arm64")),  # Docker 29
])  # fmt: skip
def test_docker_says_its_api_and_the_platform_of_its_server(programs, said: str, known: Engine):
    programs.add("docker", version=said)
    assert docker.engine() == known
    template = "{{.Client.APIVersion}} {{.Server.Os}}/{{.Server.Arch}}"
    assert programs.calls == [f"docker version --format {template}"]


@each("api", [(1, 48), (1, 52), (2, 0)])
def test_one_platform_is_saved_where_docker_can_do_that(api):
    command = docker.save_command(TAG, ARCHIVE, Engine(api, "linux/arm64"))
    assert command == [
        *("docker", "image", "save", "--platform", "linux/arm64"),
        *("--output", "/w/voice.tar", TAG),
    ]


@pytest.mark.parametrize("api", [(1, 43), (1, 47)])
def test_an_older_docker_gets_no_flag_that_it_does_not_know(api):
    command = docker.save_command(TAG, ARCHIVE, Engine(api, "linux/amd64"))
    assert command == ["docker", "image", "save", "--output", "/w/voice.tar", TAG]


def test_an_image_is_built_without_attestations_and_without_flags_of_buildx(tmp_path):
    image = Image("voice", "services/voice/Dockerfile")
    command = docker.build_command(image, TAG, Path("/w"))
    file = "/w/services/voice/Dockerfile"
    assert command == ["docker", "build", "--file", file, "--tag", TAG, "/w"]
    program = tmp_path / "docker"
    program.write_text('#!/bin/sh\necho "$BUILDX_NO_DEFAULT_ATTESTATIONS"\n')
    program.chmod(0o755)
    path = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    assert shell.call(command, env=docker.BUILDER | path).stdout == "1\n"


def test_the_archive_goes_when_it_cannot_be_loaded(programs, tmp_path):
    programs.add("docker", version="1.52 linux/amd64")
    archive = tmp_path / "voice.tar"

    def run(*command: str) -> None:
        archive.touch()
        if command[0] == "kind":
            raise NodeError("kind does not load it")

    with pytest.raises(NodeError):
        docker.load_into_kind(TAG, "mine", archive, run)
    assert not archive.exists()


_WITHOUT_BUILDX = """\
#!/bin/sh
[ "$1" = buildx ] && exit 1
echo {version}
"""


def client_without_buildx(directory: Path, version: str) -> None:
    program = directory / "docker"
    program.write_text(_WITHOUT_BUILDX.format(version=version))
    program.chmod(0o755)


def test_a_client_that_has_buildkit_itself_needs_no_buildx(programs):
    client_without_buildx(programs.directory, "20.10.24+dfsg1")
    docker.check_builder()


def test_a_later_client_without_buildx_says_what_to_install(programs):
    client_without_buildx(programs.directory, "28.2.2")
    with pytest.raises(MissingError) as caught:
        docker.check_builder()
    assert "28.2.2" in caught.value.report()
    assert "docker-buildx" in caught.value.hint
