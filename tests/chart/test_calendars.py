"""The chart value `calendars`: mounts, settings and egress; nothing of them by default."""

import json

from chart.flows import Peer, Policies
from chart.kit import Object, Rendered, environment, render, template
from rows import each

from kotatsu_common.settings import load
from kotatsu_operator.runtime.settings import OperatorSettings

TEAM = {"name": "team", "secret": "team-calendar", "key": "address"}
HOLIDAYS = {"name": "holidays", "configMap": "holidays"}
SERVER = Peer("calendar server", ip="203.0.113.9")


def settings(*calendars: dict[str, str], **values: object) -> list[str]:
    sets = {"calendars": list(calendars)} | {k.replace("__", "."): v for k, v in values.items()}
    return [f"--set-json={key}={json.dumps(value)}" for key, value in sets.items()]


def rendered(*calendars: dict[str, str], **values: object) -> Rendered:
    return render("kotatsu", None, *settings(*calendars, **values))


def pod(chart: Rendered) -> Object:
    template: Object = chart.one("Deployment", "kotatsu-operator")["spec"]["template"]
    return template


def operator(chart: Rendered) -> Peer:
    return Peer("operator", "here", pod(chart)["metadata"]["labels"])


def passes(chart: Rendered, port: int, ip: str = SERVER.ip) -> bool:
    policies = Policies(chart.of("NetworkPolicy"))
    return policies.passes(operator(chart), Peer("server", ip=ip), port)


def test_by_default_no_calendar_is_mounted_and_no_server_is_reached() -> None:
    chart = rendered(networkPolicy__apiServerCIDRs=["10.0.0.1/32"])
    spec = pod(chart)["spec"]
    assert [volume["name"] for volume in spec["volumes"]] == ["tmp"]
    assert load(OperatorSettings, environment(pod(chart))).calendars == ()
    assert not passes(chart, 443)


def test_each_calendar_has_a_folder_in_one_volume_where_the_operator_looks() -> None:
    chart = rendered(TEAM, HOLIDAYS)
    spec = pod(chart)["spec"]
    (volume,) = (v for v in spec["volumes"] if v["name"] == "calendars")
    (mount,) = (m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "calendars")
    read = load(OperatorSettings, environment(pod(chart)))
    assert read.calendars == ("team", "holidays")
    assert mount == {
        "name": "calendars",
        "mountPath": str(read.calendar_folder),
        "readOnly": True,
    }
    secret, config_map = volume["projected"]["sources"]
    team = {"name": "team-calendar", "items": [{"key": "address", "path": "team/url"}]}
    assert secret == {"secret": team | {"optional": True}}
    items = [{"key": "calendar.ics", "path": "holidays/calendar.ics"}]
    assert config_map == {"configMap": {"name": "holidays", "items": items, "optional": True}}


def test_calendars_need_no_permission() -> None:
    def rules(chart: Rendered) -> list[Object]:
        return [role["rules"] for role in (*chart.of("Role"), *chart.of("ClusterRole"))]

    assert rules(rendered(TEAM, HOLIDAYS)) == rules(rendered())


def test_only_a_calendar_of_a_url_opens_the_way_to_its_server() -> None:
    api = {"networkPolicy__apiServerCIDRs": ["10.0.0.1/32"]}
    assert not passes(rendered(HOLIDAYS, **api), 443)
    assert passes(rendered(TEAM, **api), 443)
    assert not passes(rendered(TEAM, **api), 80)
    rule = {
        "to": [{"ipBlock": {"cidr": "198.51.100.0/24"}}],
        "ports": [{"protocol": "TCP", "port": 8443}],
    }
    narrow = api | {"networkPolicy__calendarsTo": [rule]}
    assert not passes(rendered(TEAM, **narrow), 443)
    assert passes(rendered(TEAM, **narrow), 8443, ip="198.51.100.7")


@each(
    "calendars, words",
    [
        ([{"name": "team"}], "configMap"),
        ([TEAM | {"configMap": "both"}], "oneOf"),
        ([{"name": "../etc", "secret": "x"}], "pattern"),
        ([TEAM, TEAM], "calendars: the name team is used twice"),
    ],
)
def test_a_calendar_that_makes_no_sense_is_refused(
    calendars: list[dict[str, str]], words: str
) -> None:
    done = template("kotatsu", None, *settings(*calendars))
    assert done.returncode != 0
    assert words in done.stderr
