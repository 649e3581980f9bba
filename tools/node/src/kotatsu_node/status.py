"""What of the node works, and what does not."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from kotatsu_node.cluster import api, lifecycle, remains
from kotatsu_node.cluster.api import Api
from kotatsu_node.components import commands
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout


@dataclass(frozen=True)
class Status:
    """What works. `checks` holds an empty string for what does, else the reason it does not."""

    state_dir: str
    components: dict[str, bool]
    checks: dict[str, str]
    remains: list[str] = field(default_factory=list)

    @property
    def is_healthy(self) -> bool:
        """Every component runs and every check passes."""
        return all(self.components.values()) and not any(self.checks.values())

    @property
    def is_absent(self) -> bool:
        """Nothing runs and nothing is left of a node."""
        return not any(self.components.values()) and not self.remains

    def as_dict(self) -> dict[str, object]:
        """For -o json."""
        return {"healthy": self.is_healthy, **asdict(self)}


def look(layout: Layout) -> Status:
    """Look at every component, and ask the API server, the node and the DNS."""
    running = lifecycle.alive(layout)
    checks = {"api": "not running", "node": "not running", "dns": "not running"}
    if "kube-apiserver" in running:
        checks |= _ask(layout)
    return Status(
        state_dir=str(layout.state),
        components={name: name in running for name in commands.ORDER},
        checks=checks,
        remains=remains.find(layout),
    )


def _ask(layout: Layout) -> dict[str, str]:
    try:
        client = Api(layout.pki)
    except NodeError as error:
        return {"api": error.what}
    if not client.is_ready():
        return {"api": "not ready"}
    # One packet may get lost while kube-proxy writes its rules; two in a row do not.
    answers = api.dns_answers() or api.dns_answers()
    return {"api": "", "node": client.node_condition(), "dns": "" if answers else "no answer"}
