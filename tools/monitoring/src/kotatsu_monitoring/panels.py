"""The few kinds of panels that our dashboards are made of, over Grafana's own builders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from grafana_foundation_sdk.builders import (
    dashboard,
    prometheus,
    stat,
    statetimeline,
    timeseries,
)
from grafana_foundation_sdk.models.common import LineInterpolation
from grafana_foundation_sdk.models.dashboard import DataSourceRef, ValueMap, ValueMappingResult

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
POOL = 'namespace=~"$namespace",name=~"$pool"'
"""Selects what the two variables at the top of a dashboard choose."""

NAMESPACE = 'namespace=~"$namespace"'
"""The same for what is no pool's."""


@dataclass(frozen=True)
class Query:
    """One line of a panel."""

    expr: str
    legend: str = "{{name}}"


@dataclass(frozen=True)
class Panel:
    """A panel: what it shows, in which unit, and what a reader should make of it."""

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    kind: str = "lines"
    """lines, steps (values that jump), number, or states (one bar, colored by `states`)."""
    states: Mapping[str, str] = field(default_factory=dict)
    """Name and color of each state: the first is shown for the value 1, the next for 2, …"""
    width: int = 12
    height: int = 8


def build(title: str, uid: str, about: str, panels: Sequence[Panel]) -> dashboard.Dashboard:
    """A dashboard with the variables that all of ours have."""
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags(["kotatsu"])
        .refresh("10s")
        .time("now-3h", "now")
        .timezone("browser")
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
        .with_variable(_choice("namespace", "label_values(kotatsu_pool_phase, namespace)"))
        .with_variable(
            _choice("pool", 'label_values(kotatsu_pool_phase{namespace=~"$namespace"}, name)')
        )
    )
    for panel in panels:
        made = made.with_panel(_panel(panel))
    return made


def _choice(name: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(name.title())
        .datasource(SOURCE)
        .query(query)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def _mapping(states: Mapping[str, str]) -> ValueMap:
    shown = (ValueMappingResult(text=name, color=color) for name, color in states.items())
    return ValueMap({str(value): result for value, result in enumerate(shown, start=1)})


def _panel(panel: Panel) -> stat.Panel | statetimeline.Panel | timeseries.Panel:
    made: stat.Panel | statetimeline.Panel | timeseries.Panel
    if panel.kind == "number":
        made = stat.Panel()
    elif panel.kind == "states":
        made = statetimeline.Panel().mappings([_mapping(panel.states)])
    else:
        steps = panel.kind == "steps"
        made = timeseries.Panel().line_interpolation(
            LineInterpolation.STEP_AFTER if steps else LineInterpolation.LINEAR
        )
    made = (
        made.title(panel.title)
        .description(panel.description)
        .unit(panel.unit)
        .datasource(SOURCE)
        .span(panel.width)
        .height(panel.height)
    )
    for number, query in enumerate(panel.queries):
        made = made.with_target(
            prometheus.Dataquery()
            .ref_id(chr(ord("A") + number))
            .datasource(SOURCE)
            .expr(query.expr)
            .legend_format(query.legend)
        )
    return made
