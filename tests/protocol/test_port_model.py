"""Rule R4 of docs/protocol.md holds in every order of events: a port leads to one pool."""

from dataclasses import fields

from protocol.explore import Explored, explore
from protocol.port_model import PortModel, PortRules, Ports, misled
from rows import each


def explored(rules: PortRules | None = None) -> Explored[Ports]:
    return explore(Ports(faults=2), PortModel(rules).moves, misled)


def test_a_port_leads_to_one_pool_in_every_order_of_events() -> None:
    seen = explored()
    assert seen.broken is None, str(seen.broken)


@each("left_out", [f.name for f in fields(PortRules)])
def test_without_one_of_its_parts_a_port_leads_to_the_wrong_pool(left_out: str) -> None:
    seen = explored(PortRules(**{left_out: False}))
    assert seen.broken is not None
    assert seen.broken.rule.startswith("R4")
