"""What lets others check a release: bills of materials, a provenance statement, checksums."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from kotatsu_node import shell
from kotatsu_release.plan import Plan

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:kotatsu:make-release:v1"
"""`make release` of this repository: external parameters are its variables."""
CHECKSUMS = "SHA256SUMS"
PROVENANCE = "provenance.intoto.json"


@dataclass(frozen=True)
class Origin:
    """What a release was made from, by whom, and when."""

    commit: str
    bases: Sequence[str]
    """The images that ours are built from, as NAME@DIGEST."""
    builder: str
    """URI of what ran the build."""
    platforms: Sequence[str]
    started: datetime
    finished: datetime


def statement(
    plan: Plan,
    origin: Origin,
    pushed: Mapping[str, str],
    files: Sequence[Path],
    locks: Sequence[Path],
) -> dict[str, Any]:
    """An in-toto statement with SLSA provenance.

    `pushed` are names in the registry with their digests (sha256:…), `files` the other artifacts,
    `locks` the files that fix the packages which went in.
    """
    subjects = [_named(name, digest) for name, digest in pushed.items()]
    subjects += [{"name": file.name, "digest": {"sha256": sha256(file)}} for file in files]
    source: dict[str, Any] = {"digest": {"gitCommit": origin.commit}}
    if plan.source:
        source["uri"] = f"git+{plan.source}"
    return {
        "_type": STATEMENT,
        "subject": subjects,
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "version": plan.version,
                    "registry": plan.registry,
                    "platforms": list(origin.platforms),
                },
                "internalParameters": {"python": platform.python_version()},
                "resolvedDependencies": [
                    source,
                    *(_named(*base.split("@")) for base in origin.bases),
                    *(
                        {
                            "name": f"{lock.parent.name}/{lock.name}",
                            "digest": {"sha256": sha256(lock)},
                        }
                        for lock in locks
                    ),
                ],
            },
            "runDetails": {
                "builder": {"id": origin.builder},
                "metadata": {
                    "startedOn": _stamp(origin.started),
                    "finishedOn": _stamp(origin.finished),
                },
            },
        },
    }


def write_statement(where: Path, content: Mapping[str, Any]) -> Path:
    """Write a statement; its path."""
    file = where / PROVENANCE
    file.write_text(json.dumps(content, indent=2) + "\n")
    return file


def bill_of_materials(program: Path, folder: Path, name: str, where: Path) -> Path:
    """Write the packages of a lock as CycloneDX; the path. `program` is cyclonedx-py."""
    where.mkdir(parents=True, exist_ok=True)
    file = where / f"{name}.cdx.json"
    shell.call(
        [
            *(program, "requirements", "--pyproject", folder / "pyproject.toml"),
            *("--mc-type", "application", "--output-reproducible", "--of", "JSON"),
            *("-o", file, folder / "requirements.lock"),
        ],
        env={"PYTHONWARNINGS": "ignore"},
        timeout=900,
    )
    return file


def checksums(where: Path, files: Sequence[Path]) -> Path:
    """Write SHA256SUMS as `sha256sum --check` reads it; its path."""
    lines = [f"{sha256(file)}  {file.relative_to(where).as_posix()}\n" for file in sorted(files)]
    (where / CHECKSUMS).write_text("".join(lines))
    return where / CHECKSUMS


def sha256(file: Path) -> str:
    """A file's digest, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _named(name: str, digest: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
