"""Images from Docker into kind, on every Docker from 24 to 29. Nothing is really built here."""

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


@each("api, platform", [
    ((1, 43), []), ((1, 47), []), ((1, 48), ["--platform", "linux/arm64"]),
    ((1, 52), ["--platform", "linux/arm64"]), ((2, 0), ["--platform", "linux/arm64"]),
])  # fmt: skip
def test_one_platform_is_saved_where_docker_knows_the_flag(api, platform):
    command = docker.save_command(TAG, Path("/w/voice.tar"), Engine(api, "linux/arm64"))
    assert command == ["docker", "image", "save", *platform, "--output", "/w/voice.tar", TAG]


def test_an_image_is_built_without_attestations_and_without_flags_of_buildx(programs):
    image = Image("voice", "services/voice/Dockerfile")
    command = docker.build_command(image, TAG, Path("/w"))
    file = "/w/services/voice/Dockerfile"
    assert command == ["docker", "build", "--file", file, "--tag", TAG, "/w"]
    programs.script("docker", '#!/bin/sh\necho "$BUILDX_NO_DEFAULT_ATTESTATIONS"\n')
    assert shell.call(command, env=docker.BUILDER).stdout == "1\n"


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


WITHOUT_BUILDX = '#!/bin/sh\n[ "$1" = buildx ] && exit 1\necho {}\n'


def test_a_client_that_has_buildkit_itself_needs_no_buildx(programs):
    programs.script("docker", WITHOUT_BUILDX.format("20.10.24+dfsg1"))
    docker.check_builder()


def test_a_later_client_without_buildx_says_what_to_install(programs):
    programs.script("docker", WITHOUT_BUILDX.format("28.2.2"))
    with pytest.raises(MissingError) as caught:
        docker.check_builder()
    assert "28.2.2" in caught.value.report()
    assert "docker-buildx" in caught.value.hint
