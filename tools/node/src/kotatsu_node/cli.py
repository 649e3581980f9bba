"""The command line."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from kotatsu_node.components.commands import ORDER
from kotatsu_node.components.configuration import PROXY_MODES
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import DEFAULT_STATE, KUBERNETES
from kotatsu_node.node import Node
from kotatsu_node.status import Status

_DESCRIPTION = """\
A throwaway one-node Kubernetes for Linux machines without Docker.

It runs in a network namespace of its own, as root, from programs that it
downloads or builds with Go, and caches. `down` leaves nothing of it on the machine.
"""
_EPILOG = f"""\
environment:
  KOTATSU_NODE_DIR       state directory (default {DEFAULT_STATE}), like --state-dir
  KOTATSU_CACHE          built binaries and images (default ~/.cache/kotatsu)
  KOTATSU_DEBIAN_MIRROR  mirror for the base image (default: the machine's own)
  {KUBERNETES}
                         release of Kubernetes to run, such as 1.34 (default: the newest here)

exit codes: 0 done or healthy, 1 failed or unhealthy, 2 not possible on this machine
"""


def parser() -> argparse.ArgumentParser:
    """The argument parser, with help for every command."""
    top = argparse.ArgumentParser(
        prog="kotatsu-node",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--state-dir", metavar="DIR", help="where the node keeps its state")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, summary: str, more: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(name, help=summary, description=f"{summary}. {more}".strip())

    prepare = add(
        "prepare",
        "download or build the programs that a node runs",
        "Kubernetes, containerd, helm and the pause container, unless they are there already.",
    )
    which = prepare.add_mutually_exclusive_group()
    which.add_argument("--compile", action="store_true", help="build Kubernetes in any case")
    which.add_argument(
        "--peers",
        action="store_true",
        help="instead, those of other projects that tests run beside Kotatsu",
    )
    up = add(
        "up",
        "start the node",
        "Does what is missing and nothing else; after a crash it cleans up first. The first run"
        " downloads Kubernetes, or compiles it for minutes; later ones take seconds.",
    )
    _add_proxy_mode(up, "default: as it is, iptables at first")
    down = add(
        "down",
        "stop the node and remove it",
        "Ends its processes and takes away mounts, namespace, link and routes. The cluster's data"
        " is gone; built binaries and images stay.",
    )
    down.add_argument("--purge", action="store_true", help="also delete binaries, images and keys")
    status = add("status", "show what works", "Exit code 0 when all does, else 1.")
    status.add_argument("-o", "--output", choices=["json"], help="print JSON instead of lines")
    build = add(
        "build",
        "build an image and load it into the node",
        "BASE_IMAGE is set to the local base unless given. This machine's pip and apt settings are"
        " there while it builds, and not in the image.",
    )
    build.add_argument("tag", metavar="TAG", help="name of the image, such as localhost/voice:dev")
    build.add_argument("--file", "-f", type=Path, required=True, metavar="DOCKERFILE")
    build.add_argument("--context", type=Path, metavar="DIR", help="default: the Dockerfile's")
    build.add_argument("--build-arg", action="append", default=[], metavar="K=V")
    load = add("load", "load an image into the node", "Does nothing when that image is there.")
    load.add_argument("image", metavar="IMAGE", help="a tag built here, or an image archive")
    for name, does in (("start", "start"), ("stop", "end (TERM)"), ("kill", "end (KILL)")):
        one = add(name, f"{does} one component", "For experiments with faults.")
        one.add_argument("component", choices=ORDER, metavar="COMPONENT", help=", ".join(ORDER))
    second = add(
        "second",
        "add or remove a second node",
        "It runs no pods: a network namespace with a kube-proxy of its own, from which clients"
        " reach Services as they do from any other node.",
    )
    second.add_argument("action", choices=["up", "down"])
    _add_proxy_mode(second, "default: iptables")
    add("env", "print exports for a shell", 'Use: eval "$(kotatsu-node env)"')
    add("kubeconfig", "print the path of the kubeconfig")
    return top


def _add_proxy_mode(command: argparse.ArgumentParser, default: str) -> None:
    command.add_argument(
        "--proxy-mode", choices=PROXY_MODES, help=f"how its kube-proxy works ({default})"
    )


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code."""
    options = parser().parse_args(arguments)
    try:
        return _dispatch(Node.open(options.state_dir), options)
    except NodeError as error:
        print(error.report(), file=sys.stderr)
        return error.exit_code
    except PermissionError as error:
        print(f"error: {error.filename} is not accessible; run this as root", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the same command again goes on from here", file=sys.stderr)
        return 130


def _dispatch(node: Node, options: argparse.Namespace) -> int:
    match options.command:
        case "prepare" if options.peers:
            node.prepare_peers()
        case "prepare":
            node.prepare(compiled=options.compile)
        case "up":
            node.up(proxy_mode=options.proxy_mode)
            print(f'node kotatsu is Ready; to use it: eval "$({_call(options)} env)"')
        case "down":
            node.down(purge=options.purge)
        case "status":
            status = node.status()
            print(_as_json(status) if options.output == "json" else describe(status))
            return 0 if status.is_healthy else 1
        case "build":
            node.build(options.tag, options.file, options.context, options.build_arg)
        case "load":
            node.load(options.image)
        case "start" | "stop" | "kill":
            getattr(node, options.command)(options.component)
        case "second" if options.action == "down":
            node.second_down()
        case "second":
            node.second_up(proxy_mode=options.proxy_mode)
        case "env":
            for name, value in node.environment().items():
                print(f"export {name}={shlex.quote(value)}")
        case "kubeconfig":
            print(node.layout.kubeconfig)
    return 0


def describe(status: Status) -> str:
    """A status as lines for people."""
    lines = [f"{name:<24} {'running' if up else 'stopped'}" for name, up in
             status.components.items()]  # fmt: skip
    lines += [f"{name:<24} {problem or 'ok'}" for name, problem in status.checks.items()]
    if status.remains and not any(status.components.values()):
        lines += [f"left behind: {thing}" for thing in status.remains]
    lines.append(f"{'state directory':<24} {status.state_dir}")
    lines.append("healthy" if status.is_healthy else "not healthy")
    return "\n".join(lines)


def _as_json(status: Status) -> str:
    return json.dumps(status.as_dict(), indent=2)


def _call(options: argparse.Namespace) -> str:
    place = ["--state-dir", options.state_dir] if options.state_dir else []
    return shlex.join(["kotatsu-node", *place])
