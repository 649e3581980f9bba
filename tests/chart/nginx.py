"""A real nginx with the gateway's configuration as the chart renders it."""

import base64
import contextlib
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import packages
from chart.kit import CHARTS, render

from kotatsu_node.ports import free_ports

UNLIMITED = ("--set", "gateway.anonymousVoice.rate=100000r/s,gateway.anonymousVoice.burst=100000")


@contextlib.contextmanager
def serving_gateway(
    service: str,
    *arguments: str,
    web: Mapping[str, bytes] | None = None,
    log: str = "/dev/null",
) -> Iterator[int]:
    """Run nginx for the block; its port. One `service` (host:port) is behind all of its paths.

    `arguments` are helm's, on top of the demo's values. `web` has the files below /srv/web. `log`
    is the file for requests and errors; without it, requests are not logged.
    """
    rendered = render("pet", CHARTS / "pet" / "ci" / "demo.yaml", *arguments)
    files = rendered.one("ConfigMap", "gateway")
    port, probes = free_ports(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx's workers are another user where it is started by root
        text = re.sub(
            r"proxy_pass http://[\w.-]+;",
            f"proxy_pass http://{service};",
            files["data"]["nginx.conf"],
        )
        text = re.sub(r"listen (\[::\]:)8\d+;", "", text)
        text = text.replace("listen 8080;", f"listen 127.0.0.1:{port};")
        text = text.replace("listen 8081;", f"listen 127.0.0.1:{probes};")
        text = text.replace("/tmp/", f"{folder}/")  # noqa: S108
        text = text.replace("/dev/stdout", log)
        if log != "/dev/null":
            text = text.replace("/dev/stderr", log)
        # A machine that is busy with other tests may need longer for its side of a connection.
        text = re.sub(
            r"(client_header|client_body|keepalive)_timeout \d+s;", r"\1_timeout 300s;", text
        )
        text = text.replace("/etc/gateway", str(folder)).replace("/srv/web", f"{folder}/web")
        for file, content in files["data"].items():
            (folder / file).write_text(text if file == "nginx.conf" else content)
        for file, content in files.get("binaryData", {}).items():
            (folder / file).write_bytes(base64.b64decode(content))
        for file, content in (web or {}).items():
            (folder / "web" / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / "web" / file).write_bytes(content)
        command = [packages.nginx(), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
        process = subprocess.Popen(command)
        try:
            _until_it_listens(process, port)
            yield port
        finally:
            process.terminate()
            process.wait(10)


def _until_it_listens(process: "subprocess.Popen[bytes]", port: int) -> None:
    for _ in range(500):
        if process.poll() is not None:
            raise RuntimeError(f"nginx ended with {process.returncode}")
        with contextlib.suppress(ConnectionError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.02)
    raise RuntimeError("nginx does not listen")
