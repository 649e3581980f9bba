"""The command line."""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from kotatsu_demo import docker, facts, routes
from kotatsu_demo.beside import Beside
from kotatsu_demo.choice import Choice, Facts, Where, for_demo, for_images, is_nothing_up
from kotatsu_demo.closing import figures, next_commands
from kotatsu_demo.clusters import WORK, Cluster, cluster_of
from kotatsu_demo.errors import DemoError
from kotatsu_demo.images import IMAGES, TAG, Image, local_name, present
from kotatsu_demo.install import Installation, has_gateway
from kotatsu_demo.screen import Screen, Style
from kotatsu_demo.show import Show, now
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout
from kotatsu_node.progress import Progress, Times, duration

NAMESPACE = "kotatsu-demo"
_ROUTES = WORK / "routes.json"

_DESCRIPTION = """\
See a pool warm up for its window, speak, fall asleep and wake, on a real Kubernetes.

The cluster is the one that CONTEXT names. Without it, the demo makes its own: a kind cluster
when Docker runs and kind is installed, or the throwaway node of tools/node (root on Linux; no
Docker needed). `images` then takes the cluster of the current context, where that is kind.
"""
_EPILOG = """\
environment:
  CONTEXT       a context of your kubeconfig. kind-NAME gets images loaded; another
                cluster must pull them: push them with `make push` before
  IMAGE_PREFIX  where the cluster of CONTEXT pulls from, such as registry.example/me
  KOTATSU_GEMINI_API_KEY
                the bird's answers are written by Gemini; without it they are from its script

exit codes: 0 done, 1 failed, 2 not possible on this machine, 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    """The argument parser, with help for every command."""
    top = argparse.ArgumentParser(
        prog="kotatsu-demo",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--namespace", default=NAMESPACE, help="where to install (%(default)s)")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, summary: str, more: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=summary, description=f"{summary}. {more}")

    show = add("show", "install everything and show it", "Leaves all running. Safe to repeat.")
    show.add_argument("--json", action="store_true", help="print one JSON object an event")
    images = add("images", "build and load the images only", "Seconds when nothing has changed.")
    images.add_argument("--list", action="store_true", help="only name them")
    images.add_argument(
        "--own", action="store_true", help="into the cluster that `show` uses, as the tests do"
    )
    add(
        "env",
        "print exports for a shell, so that kubectl finds the cluster of `show`",
        "Exits with 1 where it is not up.",
    )
    reach = add(
        "reach",
        "let this machine reach the Services and pods of that cluster",
        "Sets routes to the nodes of a kind cluster; elsewhere there is nothing to do.",
    )
    reach.add_argument("--end", action="store_true", help="remove these routes again")
    down = add("down", "remove what `show` made", "Built binaries and images stay cached.")
    down.add_argument("--keep-cluster", action="store_true", help="remove only what is in it")
    return top


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "images" and options.list:
            _list()
            return 0
        times = Times(Layout.from_environment().times)
        progress = Progress(times=times)
        found = facts.look()
        if options.command == "down" and is_nothing_up(found):
            progress.say("no cluster of Kotatsu's is up")
            return 0
        choice = _choice(options, found)
        cluster = cluster_of(choice, options.namespace, found.image_prefix, progress)
        if options.command == "env":
            return _env(cluster)
        progress.say(f"cluster: {choice.why}")
        if choice.where is not Where.GIVEN and found.current_context not in ("", choice.context):
            progress.say(f"your current context {found.current_context} is left alone")
        silent = Progress(io.StringIO(), live=False)
        match options.command:
            case "show":
                screen = Screen(sys.stdout, _style(as_json=options.json), now)
                aside = cluster_of(choice, options.namespace, found.image_prefix, silent)
                _show(cluster, aside, screen, progress, times)
                _say_what_is_next(cluster, screen, is_node=choice.where is Where.NODE)
            case "images":
                images = _images(progress)
                cluster.start(images)
                for image in images:
                    cluster.provide(image)
                progress.say(f"the images are in {choice.context}")
                if found.current_context != choice.context:
                    progress.say(f"so that helm and kubectl find it:  {cluster.shell_line}")
            case "reach" if options.end:
                routes.close(_ROUTES)
            case "reach":
                if choice.kind_cluster and routes.open_to(cluster.kube, _ROUTES):
                    progress.say("this machine has routes to its Services and pods")
            case "down":
                _down(cluster, progress, keep_cluster=options.keep_cluster)
    except NodeError as error:
        print(f"\n{error.report()}", file=sys.stderr)
        return error.exit_code
    except PermissionError as error:
        print(f"\nerror: {error.filename} is not accessible; run this as root", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = "make down" if options.command == "down" else f"make {_target(options.command)}"
        print(
            f"\ninterrupted; `{again}` goes on from here, `make down` removes everything",
            file=sys.stderr,
        )
        return 130
    return 0


def _choice(options: argparse.Namespace, found: Facts) -> Choice:
    """The cluster that a command is for."""
    is_for_helm = options.command == "images" and not options.own
    return for_images(found) if is_for_helm else for_demo(found)


def _env(cluster: Cluster) -> int:
    if not cluster.is_up():
        print("the cluster is not up; `make demo` brings it up", file=sys.stderr)
        return 1
    for name, value in cluster.environment().items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _show(
    cluster: Cluster, aside: Cluster, screen: Screen, progress: Progress, times: Times
) -> None:
    """Install, show, sum up. `aside` is the same cluster, for what is built beside the show."""
    began = time.monotonic()
    images = _images(progress)
    first = [image for image in images if image.is_needed]
    cluster.start(first)
    key = os.environ.get("KOTATSU_GEMINI_API_KEY")
    installation = Installation(cluster.kube, cluster.pull_policy, progress, key)
    if not cluster.builds or has_gateway(cluster.kube):
        first = images  # all of it is there, or soon will be
    later = [image for image in images if image not in first]
    built = [cluster.provide(image) for image in first]
    installation.install(built)
    what = f"build and load {', '.join(image.name for image in later)}"
    todo = [partial(aside.provide, image) for image in later]
    with Beside(what, todo, screen, times) as beside:
        events = Show(cluster.kube, installation, built, screen, WORK / "kotatsu.mp3").run()
    if later:
        installation.complete([*built, *beside.results()])
    spent = duration(time.monotonic() - began)
    screen.say(f"\nIn figures (all of it took {spent}):")
    for line in figures(events):
        screen.say(line)


def _say_what_is_next(cluster: Cluster, screen: Screen, *, is_node: bool) -> None:
    screen.say("\nAll of it is left running. Try next:")
    gateway = has_gateway(cluster.kube)
    namespace = cluster.kube.namespace
    for line in next_commands(cluster.shell_line, namespace, has_gateway=gateway, is_node=is_node):
        screen.say(line)


def _images(progress: Progress) -> list[Image]:
    """Those that this checkout has a Dockerfile for, the needed ones first."""
    there, missing = present()
    for image in missing:
        if image.is_needed:
            raise DemoError(f"the image {image.name} cannot be built: no {image.dockerfile}")
    if missing:
        names = ", ".join(image.name for image in missing)
        progress.say(f"images left out, since their Dockerfiles are not there: {names}")
    return sorted(there, key=lambda image: not image.is_needed)


def _down(cluster: Cluster, progress: Progress, *, keep_cluster: bool) -> None:
    if cluster.is_ours and not keep_cluster:
        cluster.remove()  # and everything in it
        return
    Installation(cluster.kube, cluster.pull_policy, progress).remove()


def _list() -> None:
    there, _ = present()
    for image in IMAGES:
        state = "" if image in there else "  (not in this checkout yet)"
        command = docker.build_command(image, f"{local_name(image)}:{TAG}", Path())
        print(f"{shlex.join(command)}{state}")


def _style(*, as_json: bool) -> Style:
    if as_json:
        return Style.JSON
    is_terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    return Style.LIVE if is_terminal else Style.PLAIN


def _target(command: str) -> str:
    return "demo" if command == "show" else command
