"""The command line of `make release`, `make push`, `make plugin` and `make sbom`."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tomllib import loads

from kotatsu_demo import facts
from kotatsu_demo.images import ROOT
from kotatsu_node import Node, shell
from kotatsu_node.build import clients
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout
from kotatsu_node.progress import Progress, Times
from kotatsu_release import evidence, plugin, push
from kotatsu_release.builders import Buildah, Builder, Buildx
from kotatsu_release.charts import Helm
from kotatsu_release.errors import ReleaseError
from kotatsu_release.plan import (
    PLATFORMS,
    Plan,
    check_registry,
    check_source,
    check_version,
    speaks_plain_http,
)
from kotatsu_release.release import Release, Tools, locked, summary
from kotatsu_release.signing import Cosign
from kotatsu_release.tree import CHARTS

_CYCLONEDX = ROOT / "build" / "audit" / "bin" / "cyclonedx-py"
_EPILOG = """\
environment:
  COSIGN_KEY   the key to sign with (as `cosign --key` takes it); without one cosign signs with an
               identity
  BUILDER_ID   URI of what runs this, for the provenance

exit codes: 0 done, 1 failed, 2 not possible on this machine, 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    """The argument parser, with help for every command."""
    top = argparse.ArgumentParser(
        prog="kotatsu-release",
        description="Make a release of this checkout, or parts of one.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    release = commands.add_parser("release", help="make a release and push it")
    release.add_argument("version", metavar="VERSION", help="such as 1.4.0")
    release.add_argument("registry", metavar="REGISTRY", help="host and path")
    release.add_argument("--dry-run", action="store_true", help="push nothing")
    release.add_argument("--downloads", default="", metavar="URL", help="folder of the files")
    release.add_argument("--source", default="", metavar="URL", help="the repository")
    release.add_argument("--out", type=Path, default=ROOT / "build" / "release", metavar="FOLDER")
    pushing = commands.add_parser("push", help="push the images, and print the values to use")
    pushing.add_argument("registry", metavar="IMAGE_PREFIX", help="host and path")
    for command in (release, pushing):
        command.add_argument("--platforms", default="", metavar="LIST", help="with Docker alone")
        command.add_argument("--plain-http", action="store_true", help="the registry has no TLS")
    packing = commands.add_parser("plugin", help="pack the plugin for krew")
    packing.add_argument("where", type=Path, metavar="FOLDER")
    packing.add_argument("--downloads", default="", metavar="URL")
    materials = commands.add_parser("sbom", help="write bills of materials (CycloneDX)")
    materials.add_argument("where", type=Path, metavar="FOLDER")
    return top


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command; the exit code."""
    options = parser().parse_args(arguments)
    progress = Progress(times=Times(Layout.from_environment().times))
    try:
        match options.command:
            case "release":
                _release(options, environ, progress)
            case "push":
                _push(options, progress)
            case "plugin":
                version = loads((ROOT / "operator/plugin/pyproject.toml").read_text())
                number = version["project"]["version"]
                for file in plugin.write(ROOT, options.where, number, options.downloads):
                    print(file)
            case "sbom":
                for name, folder in locked(ROOT).items():
                    print(evidence.bill_of_materials(_CYCLONEDX, folder, name, options.where))
    except NodeError as error:
        print(f"\n{error.report()}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _release(options: argparse.Namespace, environ: Mapping[str, str], progress: Progress) -> None:
    check_version(options.version)
    check_registry(options.registry)
    check_source(options.source)
    plan = Plan(
        version=options.version,
        registry=options.registry,
        plain_http=options.plain_http or speaks_plain_http(options.registry),
        is_dry_run=options.dry_run,
        downloads=options.downloads,
        source=options.source,
    )
    cosign = shutil.which("cosign")
    tools = Tools(
        builder(options.platforms, progress, plain_http=plan.plain_http),
        Helm(_helm(), plan),
        _CYCLONEDX,
        Cosign(cosign, environ.get("COSIGN_KEY", "")) if cosign else None,
        environ.get("BUILDER_ID", "urn:kotatsu:by-hand"),
    )
    where = options.out.absolute() / options.version
    where.mkdir(parents=True, exist_ok=True)
    release = Release(ROOT, where, plan, tools, progress)
    released = release.make(lambda: datetime.now(UTC))
    print(summary(released, plan))
    print(f"Files: {where}")


def _push(options: argparse.Namespace, progress: Progress) -> None:
    check_registry(options.registry, "IMAGE_PREFIX")
    plain_http = options.plain_http or speaks_plain_http(options.registry)
    maker = builder(options.platforms, progress, plain_http=plain_http)
    where = ROOT / "build" / "push"
    named = push.push(ROOT, options.registry, maker, where, progress)
    print("Install with these values:")
    for command in push.write_values(named, where):
        print(f"  {command}")
    for chart in CHARTS:
        print((where / f"{chart}-images.yaml").read_text())


def builder(platforms: str, progress: Progress, *, plain_http: bool) -> Builder:
    """Docker with buildx where it runs, else buildah. ReleaseError for platforms it cannot do."""
    if facts.look().docker_runs and _has_buildx():
        return Buildx(tuple(platforms.split(",")) if platforms else PLATFORMS)
    buildah = Buildah(Node.open(progress=progress), plain_http=plain_http)
    if platforms and set(platforms.split(",")) != set(buildah.platforms):
        raise ReleaseError(
            f"buildah on this machine builds for {', '.join(buildah.platforms)} alone",
            hint="leave PLATFORMS out, or start Docker with buildx for others",
        )
    if not platforms:
        progress.say(f"Docker with buildx is not here: images for {buildah.platforms[0]} alone")
    return buildah


def _has_buildx() -> bool:
    return shell.call(["docker", "buildx", "version"], check=False).returncode == 0


def _helm() -> str:
    found = clients.find("helm", Layout.from_environment())
    if found is None:
        raise ReleaseError("helm is not installed", hint="install helm 3.8 or newer")
    return str(found)
