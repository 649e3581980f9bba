"""A real agent that enforces NetworkPolicies on the node: kube-network-policies.

It decides about the first packet of each connection, which the kernel hands to it. Its own rules
for that need nftables' `queue`, which not every kernel has, so iptables' NFQUEUE does it here: the
same packets at the same place. The verdicts are the agent's.
"""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from e2e import peer
from e2e.foreign import account, applied, rule
from e2e.kit import Kubectl
from e2e.prometheus import kubeconfig_for
from prometheus_client.parser import text_string_to_metric_families

from kotatsu_node import shell
from kotatsu_node.cluster.control_plane import free_ports
from kotatsu_node.layout import NODE_IP, NODE_NAME
from kotatsu_node.network.netns import has_ipv6, inside

NAME = "kube-network-policies"
PACKETS = "kube_network_policies_packet_count"
QUEUE, CHAIN = "100", "TO-THE-POLICY-AGENT"
# What the agent's own rules leave out as well: the node's own connections (probes, above all), IPv6
# neighbor discovery, and all but a connection's first packet.
RULES = (
    ("-m", "owner", "--uid-owner", "0", "-j", "RETURN"),
    ("-m", "conntrack", "!", "--ctstate", "NEW", "-j", "RETURN"),
    # Without the agent everything passes, also when these tests are killed and the rule stays.
    ("-j", "NFQUEUE", "--queue-num", QUEUE, "--queue-bypass"),
)
NOT_NEIGHBORS = ("-p", "icmpv6", "-j", "RETURN")


@dataclass(frozen=True)
class Agent:
    """The agent while it runs."""

    page: str

    def verdicts(self) -> dict[str, float]:
        """How many packets it has let through (`accept`) and dropped (`drop`)."""
        counted: dict[str, float] = {}
        text = httpx.get(self.page, trust_env=False).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples if family.name == PACKETS else ():
                verdict = sample.labels["verdict"]
                counted[verdict] = counted.get(verdict, 0) + sample.value
        return counted


@contextmanager
def enforced(kubectl: Kubectl, folder: Path) -> Iterator[Agent]:
    """Enforce all NetworkPolicies of the cluster on the node until the block ends."""
    program = peer.built(NAME, folder)
    rights = [rule("", "pods", "namespaces"), rule("networking.k8s.io", "networkpolicies")]
    (port,) = free_ports(1)
    page = f"{NODE_IP}:{port}"
    with ExitStack() as stack:
        stack.enter_context(applied(kubectl, account(kubectl, NAME, [], rights)))
        # It takes itself for a pod. What a pod finds below /run is there for it alone.
        secrets = folder / "run/secrets/kubernetes.io/serviceaccount"
        secrets.mkdir(parents=True)
        config = json.loads(kubeconfig_for(kubectl, NAME))
        (secrets / "token").write_text(config["users"][0]["user"]["token"])
        cluster = config["clusters"][0]["cluster"]
        (secrets / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
        server = httpx.URL(cluster["server"])
        command = inside(
            *("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /run && exec "$@"'),
            *(folder / "run", program),
            *(f"--nfqueue-id={QUEUE}", f"--hostname-override={NODE_NAME}"),
            *(f"--metrics-bind-address={page}", "--disable-nri"),
        )
        started = peer.running(
            Path(command[0]),
            *command[1:],
            folder=folder,
            ready=f"http://{page}/metrics",
            KUBERNETES_SERVICE_HOST=server.host,
            KUBERNETES_SERVICE_PORT=str(server.port),
        )
        stack.enter_context(started)
        _wait_until_it_listens()
        stack.enter_context(_asked())
        yield Agent(f"http://{page}/metrics")
    # Its own table, where the kernel has what is in it.
    shell.call(inside("nft", "delete", "table", "inet", NAME), check=False)


def _wait_until_it_listens() -> None:
    """Packets to a queue at which nobody listens are dropped."""
    end = time.monotonic() + peer.START
    while time.monotonic() < end:
        queues = shell.call(inside("cat", "/proc/net/netfilter/nfnetlink_queue")).stdout
        if any(line.split()[0] == QUEUE for line in queues.splitlines()):
            return
        time.sleep(0.1)
    raise AssertionError(f"{NAME} does not listen at queue {QUEUE}")


@contextmanager
def _asked() -> Iterator[None]:
    programs = ["iptables", "ip6tables"] if has_ipv6() else ["iptables"]

    def change(program: str, *arguments: str, check: bool = True) -> None:
        shell.call(inside(program, "-w", "-t", "mangle", *arguments), check=check)

    def remove() -> None:
        for program in programs:
            change(program, "-D", "POSTROUTING", "-j", CHAIN, check=False)
            change(program, "-F", CHAIN, check=False)
            change(program, "-X", CHAIN, check=False)

    remove()
    try:
        for program in programs:
            change(program, "-N", CHAIN)
            for entry in (NOT_NEIGHBORS, *RULES) if program == "ip6tables" else RULES:
                change(program, "-A", CHAIN, *entry)
            # Behind the DNAT of Services, before any SNAT: pods have their own addresses here.
            change(program, "-A", "POSTROUTING", "-j", CHAIN)
        yield
    finally:
        remove()
