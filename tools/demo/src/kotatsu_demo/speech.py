"""Ask the voice to speak, from inside the cluster, the way a client of the Service does.

One way for every cluster: a small client pod (the voice image, Python's standard library). The
Service's address is not reachable from outside everywhere, and a port-forward to a Service picks
one pod and passes the activator by, so it could neither wake the pool nor show the warm path.
"""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from kotatsu_demo.answers import Answer
from kotatsu_demo.errors import DemoError
from kotatsu_demo.kube import Kube

POD = "demo-client"
TEXT = "こたつがあたたまりました。どうぞ、お入りください。"
_ANSWER_SECONDS = 60
_LIFETIME_SECONDS = 900

# Prints a line of JSON, then the body as it came.
SCRIPT = f"""
import json, sys, time, urllib.error, urllib.request
url, text = sys.argv[1:]
request = urllib.request.Request(
    url, json.dumps({{"text": text}}).encode(), {{"Content-Type": "application/json"}}
)
opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
began = time.monotonic()
try:
    with opener.open(request, timeout={_ANSWER_SECONDS}) as answer:
        status, body = answer.status, answer.read()
except urllib.error.HTTPError as error:
    status, body = error.code, error.read()
except OSError as error:
    status, body = 0, str(error).encode()
head = {{"status": status, "seconds": time.monotonic() - began}}
sys.stdout.buffer.write(json.dumps(head).encode() + b"\\n" + body)
"""


class Client:
    """The client pod, from entering the context until leaving it; one request at a time."""

    def __init__(self, kube: Kube, image: str, service: str) -> None:
        self._kube, self._image, self._service = kube, image, service
        self._thread = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> Client:
        self._kube.apply(pod(self._kube.namespace, self._image))
        self._kube.kubectl("wait", f"pod/{POD}", "--for=condition=Ready", "--timeout=90s")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._kube.kubectl("delete", "pod", POD, "--wait=false", "--ignore-not-found")

    def ask(self) -> Future[Answer]:
        """Send the request; the answer comes later, or a DemoError."""
        return self._thread.submit(self._ask)

    def _ask(self) -> Answer:
        url = f"http://{self._service}/voice"
        try:
            done = self._kube.exec(
                POD, "python3", "-c", SCRIPT, url, TEXT, timeout=_ANSWER_SECONDS + 15
            )
        except subprocess.TimeoutExpired:
            raise DemoError(f"{url} did not answer within {_ANSWER_SECONDS} s") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace")
            raise DemoError("the client pod could not send its request", log=said)
        return answer_from(done.stdout, url)


def answer_from(output: bytes, url: str) -> Answer:
    """Read what the client printed. DemoError when it is no speech."""
    head, _, body = output.partition(b"\n")
    told = json.loads(head)
    answer = Answer(seconds=told["seconds"], audio=body)
    if told["status"] != 200:
        said = body.decode(errors="replace")[:500]
        raise DemoError(f"{url} answered {told['status'] or 'nothing'}", log=said)
    if answer.speech == 0.0:
        raise DemoError(f"{url} answered 200, but its {len(body)} bytes are no mp3")
    return answer


def pod(namespace: str, image: str) -> dict[str, object]:
    """The client pod: it waits for `kubectl exec`, and ends by itself if nobody ends it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": POD,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": POD},
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": _LIFETIME_SECONDS,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "client",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", f"import time; time.sleep({_LIFETIME_SECONDS})"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
