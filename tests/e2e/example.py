"""An example with the small app in the place of its image: the node pulls none."""

from pathlib import Path
from typing import Any

import yaml
from e2e.kit import Object, workload

QUICK = {"idleAfter": "6s"}


def of(path: Path, start: float = 0, **spec: Any) -> list[Object]:
    """The workload, Service and pool of an example, as it can run on any cluster.

    Its pods keep their labels, names of ports, preStop and grace period. They have no metric, and
    take `start` seconds to start. The fields of `spec` are merged into the pool's.
    """
    made, service, pool = yaml.safe_load_all(path.read_text())
    pod = made["spec"]["template"]["spec"]
    (example,) = pod["containers"]
    small = workload(pool["metadata"]["name"])[0]["spec"]["template"]["spec"]
    (app,) = small["containers"]
    kept = {"name": example["name"]}
    if not any(port["name"] == "grpc" for port in example["ports"]):
        # The small app has to be told of its end to close HTTP/2 connections; gRPC servers do it on
        # SIGTERM.
        kept["lifecycle"] = example["lifecycle"]
    app |= kept | {"ports": [_port(port["name"]) for port in example["ports"]]}
    app["readinessProbe"]["httpGet"]["port"] = 8080
    app["env"].append({"name": "METRICS", "value": "missing"})
    if start:
        app["command"] = ["/bin/sh", "-c", f"sleep {start}; exec python3 /app/app.py"]
    grace = pod.get("terminationGracePeriodSeconds", 60)
    made["spec"]["template"]["spec"] = small | {"terminationGracePeriodSeconds": grace}
    made["spec"].pop("volumeClaimTemplates", None)  # not every cluster provides volumes
    (port,) = service["spec"]["ports"]
    service["spec"]["ports"] = [{**port, "port": 80}, {**port, "name": "h2", "port": 81}]
    for name, value in (QUICK | spec).items():
        known = pool["spec"].get(name)
        pool["spec"][name] = {**known, **value} if isinstance(known, dict) else value
    return [made, service, pool]


def _port(name: str) -> Object:
    return {"name": name, "containerPort": 8081 if name == "grpc" else 8080}
