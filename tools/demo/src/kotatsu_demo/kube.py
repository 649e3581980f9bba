"""kubectl and helm on one cluster; a failure is a DemoError with what they said."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

from kotatsu_demo.errors import DemoError
from kotatsu_node import NodeError, shell

HELM_SECONDS = 180


class Kube:
    """Runs kubectl and helm in `namespace` of the cluster that `context` names.

    `environment` is added to the process's own: KUBECONFIG and PATH where they differ.
    """

    def __init__(self, context: str, environment: Mapping[str, str], namespace: str) -> None:
        self.context, self.environment, self.namespace = context, dict(environment), namespace

    def command(self, *arguments: str) -> list[str]:
        """The command line of a kubectl call."""
        return ["kubectl", f"--context={self.context}", f"--namespace={self.namespace}", *arguments]

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Run kubectl; what it printed."""
        command = self.command(*arguments)
        return shell.call(command, stdin=stdin, timeout=timeout, env=self.environment).stdout

    def answers(self) -> bool:
        """Whether the API server is there."""
        command = self.command("get", "--raw", "/readyz", "--request-timeout=10s")
        return shell.call(command, env=self.environment, check=False).returncode == 0

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(items))

    def get(self, kind: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        """One object, or None when there is none of that name."""
        where = ("-n", namespace) if namespace else ()
        text = self.kubectl("get", kind, name, *where, "-o", "json", "--ignore-not-found")
        return dict(json.loads(text)) if text.strip() else None

    def helm(self, *arguments: str, values: Mapping[str, Any] | None = None) -> None:
        """Run helm; `values` go in as a file (JSON is YAML) on standard input."""
        with_values = () if values is None else ("--values", "-")
        command = [
            *("helm", f"--kube-context={self.context}", f"--namespace={self.namespace}"),
            *(*arguments, *with_values),
        ]
        done = shell.call(
            command,
            stdin=None if values is None else json.dumps(values),
            timeout=HELM_SECONDS + 30,
            env=self.environment,
            check=False,
        )
        if done.returncode != 0:
            raise DemoError(
                f"`helm {arguments[0]}` did not work",
                log=f"{done.stderr.strip()}\n{self._pods()}",
                hint=f"kubectl --context={self.context} -n {self.namespace} get pods,events;"
                " `make demo` goes on from here, `make down` removes everything",
            )

    def _pods(self) -> str:
        try:
            return self.kubectl("get", "pods")
        except NodeError:
            return ""

    def open(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a kubectl that stays; the caller ends it."""
        return subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **self.environment},
        )

    def exec(self, pod: str, *command: str, timeout: float) -> subprocess.CompletedProcess[bytes]:
        """Run a command in a pod; its output is bytes."""
        return subprocess.run(
            self.command("exec", pod, "--", *command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            env={**os.environ, **self.environment},
            check=False,
        )
