"""What is installed is what was locked: by version and hash, under a license that is allowed."""

import importlib.metadata
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs.pages import files
from rows import each

from kotatsu_demo import images
from kotatsu_node.layout import DEBIAN
from kotatsu_release import tree

ROOT = Path(__file__).parents[2]
WORKSPACE = ROOT / "requirements.lock"
IMAGES = [ROOT / image.folder / "requirements.lock" for image in images.IMAGES if image.folder]
LOCKS = [WORKSPACE, ROOT / "requirements-uv.lock", ROOT / "requirements-audit.lock", *IMAGES]
BY_LOCK = pytest.mark.parametrize("lock", LOCKS, ids=lambda p: str(p.relative_to(ROOT)))

ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0"),
    *("PSF-2.0", "Zlib"),
}
IN_TESTS = ALLOWED | {"MPL-2.0"}
"""What is in no image may be under this one as well."""

CLASSIFIED = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "DFSG approved": "",
}
"""What packages say that have no SPDX expression."""

STATED = {
    "audioop-lts": ("PSF-2.0", "for Python 3.13 and later; its metadata there"),
    "axe-playwright-python": ("MIT", "its LICENSE; the axe-core in it is MPL-2.0"),
    "colorama": ("BSD-3-Clause", "on Windows alone; its metadata there"),
    "httpx2-jsfetch": ("BSD-3-Clause", "for Python in a browser alone, where nothing of ours runs"),
    "sudachidict-core": ("Apache-2.0", "never installed (override in pyproject.toml); its project"),
}
"""Licenses of packages that say none, or that no machine of ours installs, and where it stands."""

EXCEPTIONS = {
    "certifi": ("MPL-2.0", "Mozilla's list of authorities as it is, which httpx reads"),
    "lameenc": ("LGPL-3.0-or-later", "LAME as a shared library of its own; only the voice has it"),
}
"""In images in spite of their license, and why that is right."""


def packages(lock: Path) -> Iterator[tuple[str, str, str]]:
    """(name, version, everything that stands after it) of each requirement."""
    text = re.sub(r"\\\n\s*", " ", lock.read_text())
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            found = re.match(r"([a-z0-9][a-z0-9._-]*)==([^\s;]+)(.*)", line)
            assert found is not None, f"{lock.name}: {line[:80]}"
            yield found[1], found[2], found[3]


def license_of(name: str) -> str:
    """The SPDX expression of a package."""
    if name in STATED:
        return STATED[name][0]
    about = importlib.metadata.metadata(name)
    expression = about.get("License-Expression") or about.get("License")
    if expression in ALLOWED or about.get("License-Expression"):
        return str(expression)
    told = [c for c in about.get_all("Classifier") or () if c.startswith("License ::")]
    found = {CLASSIFIED[c.rpartition(" :: ")[2]] for c in told} - {""}
    assert found, f"{name} says no license: {about.get('License')!r}"
    return " AND ".join(sorted(found))


def is_allowed(expression: str, allowed: set[str]) -> bool:
    """Whether all of an expression's licenses are allowed, or of an OR one of them."""
    return any(
        set(re.split(r"\s+AND\s+", choice.strip("() "))) <= allowed
        for choice in re.split(r"\s+OR\s+", expression)
    )


# --- pinned ---


@BY_LOCK
def test_every_requirement_has_a_version_and_hashes_and_names_no_place(lock: Path) -> None:
    found = list(packages(lock))
    assert found
    for name, _, rest in found:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", rest), f"{lock}: {name}"
        assert "md5" not in rest
    assert "://" not in lock.read_text()


@each("lock", IMAGES, name=lambda p: str(p.parent.relative_to(ROOT)))
def test_an_image_has_the_versions_that_were_tested(lock: Path) -> None:
    tested = {(name, version) for name, version, _ in packages(WORKSPACE)}
    assert {(name, version) for name, version, _ in packages(lock)} <= tested


def test_each_image_installs_its_lock_and_nothing_else() -> None:
    assert len(IMAGES) == 5
    for image in images.IMAGES:
        if not image.folder:
            continue
        text = (ROOT / image.dockerfile).read_text()
        folder = "${FOLDER}" if image.dockerfile == images.SHARED else image.folder
        assert f"COPY images/*.sh images/*.py {folder}/requirements.lock /src/\n" in text
        assert "RUN sh /src/packages.sh /src/requirements.lock\n" in text
        bases = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE))
        assert bases <= {"${BASE_IMAGE}", "scratch"}
        # The one thing that is fetched besides is VOICEVOX, where somebody asks for it.
        assert ("pip install" in text) is (image.name == "voice")
        assert "USER 65532:65532\n" in text
    script = (ROOT / "images/packages.sh").read_text()
    for flag in ("--require-hashes", "--no-deps", "--only-binary :all:"):
        assert flag in script
    assert len(re.findall(r"\bpip install\b", script)) == 1


def test_all_images_start_from_one_base_whose_debian_the_throwaway_node_has_too() -> None:
    assert tree.base_image(ROOT) == f"python:3.13-slim-{DEBIAN}"


def test_the_workspace_installs_its_lock_and_nothing_else() -> None:
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Makefile").read_text())
    installs = [line for line in text.splitlines() if re.search(r"pip (install|sync)", line)]
    assert len(installs) >= 5
    for line in installs:
        is_own = "--no-build-isolation" in line and "--no-deps" in line and "--editable" in line
        assert is_own or "--require-hashes" in line, line
        assert "pip sync" not in line or "--no-build" in line, line


def test_what_builds_our_packages_is_locked() -> None:
    locked = {name for name, _, _ in packages(WORKSPACE)}
    for path in files():
        if path.name == "pyproject.toml" and path.parent != ROOT:
            assert set(tomllib.loads(path.read_text())["build-system"]["requires"]) <= locked


@pytest.mark.parametrize("module", ["kube", "pause"])
def test_go_modules_are_pinned_by_their_sums(module: str) -> None:
    folder = ROOT / "tools/node" / module
    text = (folder / "go.mod").read_text()
    wanted = set(re.findall(r"^\t(\S+ v\S+)", text.partition("replace")[0], re.MULTILINE))
    if not wanted:
        return  # it needs nothing
    sums = (folder / "go.sum").read_text()
    replaced = dict(re.findall(r"^\t(\S+) => (\S+ v\S+)$", text, re.MULTILINE))
    for entry in wanted:
        pinned = replaced.get(entry.split()[0], entry)
        assert f"{pinned} " in sums or f"{pinned}/go.mod " in sums, entry


# --- allowed ---


def test_every_license_in_an_image_is_allowed() -> None:
    shipped = {name for lock in IMAGES for name, _, _ in packages(lock)}
    for name in sorted(shipped - set(EXCEPTIONS)):
        assert is_allowed(license_of(name), ALLOWED), f"{name}: {license_of(name)}"
    for name, (expected, _) in EXCEPTIONS.items():
        assert name in shipped
        assert license_of(name) == expected
    lame = {lock.parent.name for lock in IMAGES if "lameenc" in {n for n, _, _ in packages(lock)}}
    assert lame == {"voice"}


def test_every_license_in_the_workspace_is_allowed() -> None:
    for name in {name for name, _, _ in packages(WORKSPACE)} - set(EXCEPTIONS):
        assert is_allowed(license_of(name), IN_TESTS), f"{name}: {license_of(name)}"
    assert {name for name, _, _ in packages(WORKSPACE)} >= STATED.keys()


@each(
    "expression, is_fine",
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("Apache-2.0 OR BSD-2-Clause", True),
        ("MPL-2.0", False),
    ],
)
def test_an_expression_is_read_as_it_is_meant(expression: str, is_fine: bool) -> None:
    assert is_allowed(expression, ALLOWED) is is_fine


# --- listed ---


@pytest.mark.slow
@pytest.mark.nightly
def test_the_bill_of_materials_has_every_locked_package(tmp_path: Path) -> None:
    tool = ROOT / "build/audit/bin/cyclonedx-py"
    done = subprocess.run(
        ["make", "sbom", "IMAGES=services/auth"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert tool.exists()
    for lock in (ROOT / "services/auth/requirements.lock", WORKSPACE):
        name = "workspace" if lock is WORKSPACE else lock.parent.name
        text = (ROOT / f"build/sbom/{name}.cdx.json").read_text()
        assert '"bomFormat": "CycloneDX"' in text
        for package, version, _ in packages(lock):
            assert f'"purl": "pkg:pypi/{package}@{version.replace("!", "%21")}"' in text
