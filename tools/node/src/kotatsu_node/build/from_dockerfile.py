"""Build an image from a Dockerfile, with this machine's access to its package mirrors.

That access (pip's and apt's settings, certificate authorities) is mounted while RUN steps run.
It is never copied into the image or set in its environment.
"""

from __future__ import annotations

import configparser
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from kotatsu_node import shell
from kotatsu_node.build import debian
from kotatsu_node.build.buildah import Buildah
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import BASE_IMAGE, DEBIAN

_CERTIFICATES = Path("/etc/ssl/certs")
_APT_SETTINGS = re.compile(r"^Acquire::(http|https|Check-|Retries|ForceIPv|Languages|AllowWeak)")
_APT_CONF = """\
APT::Install-Recommends "false";
APT::Sandbox::User "root";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
"""


def build(
    buildah: Buildah,
    tag: str,
    dockerfile: Path,
    context: Path,
    build_args: Sequence[str],
    log: Path,
) -> None:
    """Build `tag`; an unchanged rebuild comes from the layer cache. Output goes to `log`."""
    for path, kind in ((dockerfile, "Dockerfile"), (context, "context directory")):
        if not path.exists():
            raise NodeError(f"there is no {kind} {path}")
    arguments = [f"BASE_IMAGE={BASE_IMAGE}", *build_args]
    with tempfile.TemporaryDirectory(prefix="kotatsu-build-") as directory, buildah.building():
        mounts = _mounts(Path(directory))
        shell.call_logged(
            buildah.command(
                *("bud", "--layers", "--isolation", "chroot", "--network", "host"),
                *("--pull=never", *buildah.policy_flag()),
                *(part for argument in arguments for part in ("--build-arg", argument)),
                *(part for mount in mounts for part in ("--volume", mount)),
                *("--file", dockerfile, "--tag", tag, context),
            ),
            log,
            env=buildah.environment,
            hint="the failing step is at the log's end; if it is a FROM: only images built here"
            " can stand there, so take the base as `ARG BASE_IMAGE=…` and `FROM ${BASE_IMAGE}`",
        )


def _mounts(work: Path) -> list[str]:
    """Arguments of --volume; what this machine does not have is left out."""
    mounts = []
    if _CERTIFICATES.is_dir() and any(_CERTIFICATES.iterdir()):
        mounts.append(f"{_CERTIFICATES}:{_CERTIFICATES}:ro")
    settings = pip_settings(os.environ, _pip_files(os.environ))
    if settings:
        config = work / "pip.conf"
        config.write_text(pip_conf(settings))
        mounts.append(f"{config}:/etc/pip.conf:ro")
    paths = [path for path in local_paths(settings) if not path.is_relative_to(_CERTIFICATES)]
    mounts += [f"{path}:{path}:ro" for path in paths]
    return mounts + _apt_mounts(work)


def _apt_mounts(work: Path) -> list[str]:
    archives = debian.read_archives(DEBIAN)
    if not archives:
        return []
    sources, conf = work / "sources.list.d", work / "apt.conf.d"
    sources.mkdir()
    conf.mkdir()
    (sources / "machine.list").write_text(
        "".join(
            f"deb {a.uri} {suite} {' '.join(a.components)}\n"
            for a in archives
            for suite in a.suites
        )
    )
    dump = shell.call(["apt-config", "dump", "Acquire"], check=False).stdout
    (conf / "machine").write_text(_APT_CONF + apt_settings(dump))
    return [f"{sources}:/etc/apt/sources.list.d:ro", f"{conf}:/etc/apt/apt.conf.d:ro"]


def apt_settings(dump: str) -> str:
    """The lines of `apt-config dump` on how to reach a mirror."""
    return "".join(f"{line}\n" for line in dump.splitlines() if _APT_SETTINGS.match(line))


def _pip_files(environ: Mapping[str, str]) -> list[str]:
    """Texts of pip's configuration files, the weakest first."""
    if environ.get("PIP_CONFIG_FILE") == os.devnull:
        return []
    home = Path.home()
    files = [Path("/etc/pip.conf"), home / ".pip/pip.conf", home / ".config/pip/pip.conf"]
    if environ.get("PIP_CONFIG_FILE"):
        files.append(Path(environ["PIP_CONFIG_FILE"]))
    return [file.read_text() for file in files if file.is_file()]


def pip_settings(environ: Mapping[str, str], files: Sequence[str]) -> dict[str, str]:
    """The global settings of pip from its files and the PIP_* environment, which wins."""
    settings: dict[str, str] = {}
    for text in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(text)
        except configparser.Error:
            continue  # pip itself would complain; this is not the place
        for section in ("global", "install"):
            if parser.has_section(section):
                settings.update(parser.items(section))
    for name, value in environ.items():
        option = name.removeprefix("PIP_").lower().replace("_", "-")
        if name.startswith("PIP_") and option != "config-file" and value:
            settings[option] = value
    # These say where pip installs to on this machine, not where it gets packages from.
    for option in ("user", "target", "prefix", "require-virtualenv", "cache-dir", "python"):
        settings.pop(option, None)
    links = [
        link
        for link in settings.get("find-links", "").split()
        if not link.startswith("/") or _has_content(Path(link))
    ]
    if links:
        settings["find-links"] = "\n    ".join(links)
    else:
        settings.pop("find-links", None)
    return settings


def pip_conf(settings: Mapping[str, str]) -> str:
    """A pip.conf with these global settings."""
    lines = [f"{name} = {value}" for name, value in sorted(settings.items())]
    return "\n".join(["[global]", *lines, ""])


def local_paths(settings: Mapping[str, str]) -> list[Path]:
    """Files and directories of this machine that pip's settings point to."""
    words = [word for name in ("cert", "client-cert", "find-links") if name in settings
             for word in settings[name].split()]  # fmt: skip
    return [Path(word) for word in words if word.startswith("/") and Path(word).exists()]


def _has_content(directory: Path) -> bool:
    return directory.is_dir() and any(directory.iterdir())
