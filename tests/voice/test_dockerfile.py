"""The step of the Dockerfile that fetches VOICEVOX, run with programs that only pretend to."""

import os
import re
import subprocess
from pathlib import Path

import pytest

DOCKERFILE = Path(__file__).parents[2] / "services/voice/Dockerfile"
FILES = (
    "onnxruntime/lib/libvoicevox_onnxruntime.so.1.17.3",
    "dict/open_jtalk_dic_utf_8-1.11/sys.dic",
    "models/vvms/0.vvm",
)


class Step:
    """The RUN step below a folder of its own. `left` is what the downloader leaves there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.left: tuple[str, ...] = FILES
        self.machine = "x86_64"
        self.token: str | None = None

    def run(self, **arguments: str) -> subprocess.CompletedProcess[str]:
        text = DOCKERFILE.read_text()
        found = re.search(
            r"^RUN --mount=type=secret,id=GH_TOKEN (.*?[^\\])\n", text, re.MULTILINE | re.DOTALL
        )
        assert found
        script = found[1]
        for path in ("/opt/venv/bin", "/opt/voicevox", "/tmp/download", "/run/secrets"):  # noqa: S108
            script = script.replace(path, f"{self.folder}{path}")
        self._program("opt/venv/bin/pip", 'echo "pip $*"')
        self._program("bin/uname", f"echo {self.machine}")
        made = "".join(f'mkdir -p "$(dirname $out/{f})"; echo x > $out/{f}; ' for f in self.left)
        self._program(
            "bin/download", f'echo "download $* ${{GH_TOKEN-}}"; eval out=\\${{$#}}; {made}'
        )
        self._program("bin/python3", f'echo "fetch $3"; cp {self.folder}/bin/download "$4"')
        (self.folder / "tmp").mkdir(exist_ok=True)
        if self.token is not None:
            (self.folder / "run/secrets").mkdir(parents=True)
            (self.folder / "run/secrets/GH_TOKEN").write_text(self.token)
        environ = dict(re.findall(r"^ARG (\w+)=(.*)$", text, re.MULTILINE)) | arguments
        environ["PATH"] = f"{self.folder}/bin:{os.environ['PATH']}"
        command = ["sh", "-c", script]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=20)

    def _program(self, name: str, script: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


AGREED = {"ENGINE": "voicevox", "ACCEPT_VOICEVOX_TERMS": "yes"}


@pytest.fixture
def step(tmp_path: Path) -> Step:
    return Step(tmp_path)


def test_nothing_is_fetched_for_the_other_engines(step: Step) -> None:
    done = step.run()
    assert (done.returncode, done.stdout) == (0, "")


def test_nothing_is_fetched_without_agreement_to_the_terms(step: Step) -> None:
    done = step.run(ENGINE="voicevox")
    assert (done.returncode, done.stdout) == (1, "")
    assert "https://voicevox.hiroshiba.jp/term/" in done.stderr


@pytest.mark.parametrize(
    ("machine", "wheel", "download"), [("x86_64", "x86_64", "x64"), ("aarch64", "aarch64", "arm64")]
)
def test_it_fetches_for_its_machine(step: Step, machine: str, wheel: str, download: str) -> None:
    step.machine = machine
    done = step.run(**AGREED)
    assert done.returncode == 0, done.stderr
    assert f"manylinux_2_34_{wheel}.whl" in done.stdout
    assert f"/0.16.4/download-linux-{download}\n" in done.stdout


def test_runtime_and_voices_are_pinned(step: Step) -> None:
    said = step.run(**AGREED).stdout
    assert "--onnxruntime-version voicevox_onnxruntime-1.17.3 --models-version 0.16.0" in said


def test_a_token_reaches_only_the_downloader(step: Step) -> None:
    step.token = "gh-secret"
    said = step.run(**AGREED).stdout.splitlines()
    assert [line.split()[0] for line in said if "gh-secret" in line] == ["download"]


@pytest.mark.parametrize("missing", FILES)
def test_a_file_that_is_not_there_fails_the_build(step: Step, missing: str) -> None:
    step.left = tuple(file for file in FILES if file != missing)
    done = step.run(**AGREED)
    assert done.returncode == 1
    assert f"left no {missing}" in done.stderr


def test_the_image_names_the_files_that_were_checked(step: Step) -> None:
    assert step.run(**AGREED).returncode == 0
    text = DOCKERFILE.read_text()
    for name in ("ONNXRUNTIME", "DICT_DIR", "MODEL"):
        found = re.search(rf"KOTATSU_VOICEVOX_{name}=/(\S+)", text)
        assert found
        assert (step.folder / found[1]).exists()
