"""The machine's Debian packages and mirrors."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kotatsu_node import shell
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import DEBIAN

# What each package is needed for, named by a file or program that shows it is there already
# (a machine may have runc from elsewhere).
NEEDED: Mapping[str, str] = {
    "runc": "runc",
    "buildah": "buildah",
    "netavark": "/usr/lib/podman/netavark",
    "mmdebstrap": "mmdebstrap",
    # Older versions of the package have no key of that release.
    "debian-archive-keyring": f"/usr/share/keyrings/debian-archive-{DEBIAN}-stable.gpg",
    "iptables": "iptables",
    "nftables": "nft",
    "conntrack": "conntrack",
    "iproute2": "ip",
    "util-linux": "nsenter",
    "mount": "umount",
    "openssl": "openssl",
}


@dataclass(frozen=True)
class Source:
    """One archive of the machine's apt configuration."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]


def missing(needed: Mapping[str, str] = NEEDED) -> list[str]:
    """The packages whose file or program is not there."""
    return [
        package
        for package, proof in needed.items()
        if not (Path(proof).exists() if proof.startswith("/") else shutil.which(proof))
    ]


def install(packages: Iterable[str], log: Path) -> None:
    """Install packages without recommendations; refresh apt's lists only if that is needed."""
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    hint = "run `apt-get update` and look at the machine's apt configuration, then try again"
    try:
        shell.call_logged(command, log, env=env)
    except NodeError:
        shell.call_logged(["apt-get", "update"], log.with_suffix(".update.log"), hint=hint)
        shell.call_logged(command, log, env=env, hint=hint)


def read_sources(etc_apt: Path = Path("/etc/apt")) -> list[Source]:
    """Every archive that the machine's apt configuration names, in apt's order."""
    found: list[Source] = []
    for file in [etc_apt / "sources.list", *sorted((etc_apt / "sources.list.d").glob("*"))]:
        if not file.is_file():
            continue
        text = file.read_text(errors="replace")
        found += parse_deb822(text) if file.suffix == ".sources" else parse_one_line(text)
    return found


def parse_one_line(text: str) -> list[Source]:
    """Parse the older `deb [options] uri suite component…` lines."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line)
        if match:
            found.append(Source(match[1], (match[2],), tuple(match[3].split())))
    return found


def parse_deb822(text: str) -> list[Source]:
    """Parse `Types: … URIs: … Suites: … Components: …` stanzas."""
    found = []
    for stanza in re.split(r"\n\s*\n", text):
        lines = [line for line in stanza.splitlines() if not line.startswith("#")]
        joined = "\n".join(lines).replace("\n ", " ")
        fields = {
            key.strip().lower(): value.split()
            for key, separator, value in (line.partition(":") for line in joined.splitlines())
            if separator
        }
        if "deb" not in fields.get("types", []) or fields.get("enabled") == ["no"]:
            continue
        suites, components = fields.get("suites", []), fields.get("components", [])
        found += [Source(u, tuple(suites), tuple(components)) for u in fields.get("uris", [])]
    return found


def codename() -> str:
    """The release of Debian that this machine runs, such as bookworm; empty on other systems."""
    try:
        about = platform.freedesktop_os_release()
    except OSError:
        return ""
    return about.get("VERSION_CODENAME", "") if about["ID"] == "debian" else ""


def read_archives(release: str) -> list[Source]:
    """Where a release of Debian is for this machine: on the mirrors of its own, if it names any."""
    sources = read_sources()
    return archives_of(release, codename(), sources) or archives_of(release, release, sources)


def archives_of(release: str, named: str, sources: Iterable[Source]) -> list[Source]:
    """A release's base, updates and security on the mirrors that have the release `named`.

    Sources of other vendors are left out.
    """
    suites = {named + part: release + part for part in ("", "-updates", "-security")}
    found = []
    for source in sources:
        own = tuple(suites[suite] for suite in source.suites if suite in suites)
        if named and own and "main" in source.components:
            found.append(replace(source, suites=own))
    return found


def mirror_of(release: str, archives: Iterable[Source]) -> str:
    """The mirror that carries the release's base suite; empty when there is none."""
    return next((a.uri for a in archives if release in a.suites), "")
