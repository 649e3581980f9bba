"""What is said at the end."""

from decimal import Decimal

from kotatsu_demo.bill import bill
from kotatsu_demo.closing import figures, next_commands
from kotatsu_demo.snapshot import Cost
from kotatsu_demo.story import Event

READY = Event("ready", "…", {"early_seconds": 9.4})


def test_a_month_left_on_is_730_hours_at_the_same_prices():
    event = bill(Cost("JPY", Decimal("0.0536"), Decimal(0)), Decimal("3.6875"), 2)
    assert event.facts["month_left_on"] == "2691.88"
    assert "0.05 JPY so far" in event.text
    assert "2 pods left on for a month: 2,692 JPY" in event.text


def test_without_prices_there_is_no_bill_but_a_hint_where_they_go():
    assert "the chart value prices" in bill(Cost(), Decimal(0), 2).text


def test_the_figures_come_one_a_line_and_only_those_there_are():
    woken = Event("woken", "…", {"answer_seconds": 1.234})
    early, wake = figures([READY, woken])
    assert early == "  punctual  2 pods Ready 9.4 s before the window opened"
    assert "1.23 s from a request at 0 pods" in wake


def test_late_is_called_late():
    (line,) = figures([Event("ready", "…", {"early_seconds": -3.0})])
    assert "3.0 s after the window opened: LATE" in line


def test_the_gateway_is_the_way_in_where_there_is_one():
    text = "\n".join(next_commands("export X", "ns", has_gateway=True, is_node=True))
    assert "kubectl -n ns port-forward svc/gateway 8080:80" in text
    assert "clusterIP" not in text


def test_on_the_node_the_service_can_be_reached_directly():
    text = "\n".join(next_commands("export X", "ns", has_gateway=False, is_node=True))
    assert "clusterIP" in text


def test_the_last_word_is_how_to_remove_it_all():
    for has_gateway in (True, False):
        last = next_commands("export X", "ns", has_gateway=has_gateway, is_node=False)[-1]
        assert last.endswith("make down")
