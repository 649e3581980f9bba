"""kubectl demo-mode report: text, JSON, CSV and page of the same episodes."""

import csv
import json
import re
from decimal import Decimal
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from plugin.apiserver import Api
from plugin.evenings import COST, OVERRIDE, PAID, RUNNING, START, STATUS, WINDOW, evening, said
from plugin.kit import manifest

from kotatsu_demo_mode.focus import COLUMNS


def test_the_report_has_each_episode_and_the_ledgers_own_sum():
    ran = said("report", "voice", "-o", "json", pools=[evening()])
    (found,) = ran.json
    assert [(e["reason"], e["cost"]) for e in found["episodes"]] == [
        ("Window", "5.531250"),
        ("Override", "2.765625"),
        ("Request", "0.015365"),
    ]
    assert found["costs"] == {"JPY": "8.312240"}
    ledger = {"accrued": "8.312240", "report": "8.312240", "equal": True}
    assert found["ledger"] == [{"periodStart": START, "currency": "JPY", **ledger}]
    assert (found["wakes"], found["opened"], found["cold"]) == (1, 1, 0)
    assert found["notes"] == []


def test_the_report_for_people():
    ran = said("report", "voice", "--from", "2026-11-24T17:00", pools=[evening()])
    lines = ran.out.splitlines()
    assert lines[0] == "voice: Tue 2026-11-24 17:00 to 06:00 Asia/Tokyo"
    at = next(i for i, line in enumerate(lines) if line.startswith("FROM"))
    assert [" ".join(line.split()) for line in lines[at + 1 : at + 4]] == [
        "Tue 2026-11-24 18:00 Tue 2026-11-24 19:30 1h 30m window rehearsal 2 3.000 0 1 5.531250",
        "Tue 2026-11-24 19:30 Tue 2026-11-24 20:00 30m override <b>judges 3 1.500 0 - 2.765625",
        "05:59 runs 30s request 1 0.008 1 - 0.015365",
    ]
    assert "  cost in JPY               8.312240" in lines
    assert "  requests                  not recorded (--prometheus reads them)" in lines


def test_what_else_the_range_would_have_cost():
    ran = said(
        "report", "voice", "-o", "json", "--from", "2026-11-24T17:00", "--to", "2026-11-24T21:00",
        "--lambda-price", "0.001", "--lambda-memory", "1024", "--lambda-currency", "USD",
        pools=[evening()],
    )  # fmt: skip
    others = ran.json[0]["alternatives"]
    price = 1.84375
    assert others["replicas"] == 3
    assert others["alwaysOn"] == pytest.approx(4 * 3 * price)
    # Two hours with pods, 4.5 pod-hours; and one pod for the other two.
    assert others["minScaleOne"] == pytest.approx((4.5 + 2) * price, abs=0.001)
    # 2 for 90 minutes, 3 for 30.
    assert others["lambda"]["episodes"] == pytest.approx(2 * 5.4 + 3 * 1.8)
    assert others["lambda"]["alwaysOn"] == pytest.approx(3 * 14.4)


def test_a_range_that_cuts_an_episode_counts_its_share_and_says_so():
    ran = said(
        "report", "voice", "-o", "json", "--from", "2026-11-24T19:45", "--to", "2026-11-24T21:00",
        pools=[evening()],
    )  # fmt: skip
    (found,) = ran.json
    assert [(e["cost"], e["part"]) for e in found["episodes"]] == [("1.382812", True)]
    assert found["ledger"] == []
    assert any("shares by time" in note for note in found["notes"])


def test_a_range_before_the_record_says_so():
    history = STATUS["history"] | {"since": "2026-11-20T00:00:00Z"}
    ran = said("report", "voice", "--from", "2026-11-01T00:00", pools=[evening(history=history)])
    assert "(the record begins at 2026-11-20T00:00:00Z" in ran.out


def test_older_episodes_are_in_the_sum_and_named_as_one():
    earlier = {
        "from": "2026-11-02T00:00:00Z",
        "to": "2026-11-03T00:00:00Z",
        "episodes": 7,
        "cost": "1.000001",
        "podSeconds": 60.0,
        **PAID,
    }
    status = STATUS["history"] | {"earlier": [earlier]}
    cost = COST | {"accrued": "9.312241"}
    (found,) = said(
        "report", "voice", "-o", "json", pools=[evening(history=status, cost=cost)]
    ).json
    assert found["costs"] == {"JPY": "9.312241"}
    assert found["ledger"][0]["equal"]
    assert found["alternatives"]["minScaleOne"] is None
    assert found["notes"] == ["7 older episodes are kept as a sum"]


def test_a_pool_without_a_history_or_with_nonsense_in_it_has_a_report():
    for history in (None, {"since": 3, "episodes": [None, {"from": "x"}], "running": []}):
        ran = said("report", "voice", pools=[evening(history=history)])
        assert (ran.code, ran.err) == (0, "")
        assert "no pods in this time" in ran.out


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--from", "2027-01-01T00:00"), "--from must be before --to"),
        (("--to", "never"), "--to: 'never' is not a time"),
        (("--prometheus", "ftp://x"), "--prometheus: write a URL"),
        (("--prometheus", "http://127.0.0.1:1"), "--prometheus: 127.0.0.1 does not answer"),
    ],
)
def test_wrong_ranges_and_addresses_are_one_sentence(arguments, error):
    ran = said("report", "voice", *arguments, pools=[evening()])
    assert ran.code == 1
    assert ran.err.startswith(f"error: {error}")
    assert ran.err.count("\n") == 1


# --- FOCUS ---


def rows() -> list[dict[str, str]]:
    ran = said("report", "voice", "-o", "focus", pools=[evening()])
    return list(csv.DictReader(ran.out.splitlines(), strict=True))


def test_focus_has_a_row_for_each_episode_and_its_costs_are_the_ledgers():
    made = rows()
    assert list(made[0]) == list(COLUMNS)
    assert [row["x_Reason"] for row in made] == ["Window", "Override", "Request"]
    for column in ("EffectiveCost", "ContractedCost", "ListCost"):
        assert sum(Decimal(row[column]) for row in made) == Decimal("8.312240")
    assert {row["BilledCost"] for row in made} == {"0"}


def test_focus_writes_times_in_utc_with_seconds_and_nulls_as_nothing():
    for row in rows():
        for name, value in row.items():
            if name.endswith(("PeriodStart", "PeriodEnd")):
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value)
        assert row["ChargeClass"] == row["BillingAccountName"] == ""
        assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == (START, COST["periodEnd"])
        assert (row["ConsumedUnit"], row["BillingCurrency"]) == ("Pod-Hours", "JPY")
        assert json.loads(row["Tags"]) == {"team": "pet"}


MANDATORY = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
]
NULLABLE = {"BillingAccountName", "ChargeClass", "ChargeDescription"}


def test_focus_has_every_mandatory_column_and_a_value_in_those_that_allow_no_null():
    for row in rows():
        assert set(MANDATORY) <= set(row)
        assert all(row[name] for name in MANDATORY if name not in NULLABLE)
    assert [c for c in COLUMNS if c.startswith("x_")] == list(COLUMNS[-2:])


def test_a_reason_is_no_formula_in_a_spreadsheet():
    history = {"since": START, "episodes": [OVERRIDE | {"name": "=HYPERLINK(1)"}]}
    ran = said("report", "voice", "-o", "focus", pools=[evening(history=history)])
    (row,) = csv.DictReader(ran.out.splitlines())
    assert row["x_ReasonName"] == "'=HYPERLINK(1)"


# --- HTML ---


class Seen(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words += data


def test_the_page_is_one_file_without_script_and_everything_is_escaped():
    ran = said("report", "voice", "-o", "html", pools=[evening()])
    seen = Seen(ran.out)
    kinds = {tag for tag, _ in seen.tags}
    assert not kinds & {"script", "link", "img", "iframe", "b"}
    assert not any(
        name in ("src", "href") or name.startswith("on") for _, a in seen.tags for name in a
    )
    assert "<b>judges" in seen.words
    policy = [a["content"] for _, a in seen.tags if a.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_the_picture_has_words_and_the_table_has_its_figures():
    seen = Seen(said("report", "voice", "-o", "html", pools=[evening()]).out)
    (picture,) = [a for tag, a in seen.tags if tag == "svg"]
    assert picture["role"] == "img"
    assert picture["aria-label"] == "voice: 3 times with pods, at most 3 at a time."
    assert {a["scope"] for tag, a in seen.tags if tag == "th"} == {"col"}
    for words in ("5.531250", "2.765625", "8.312240", "equal"):
        assert words in seen.words


def test_two_pools_are_two_sections_and_none_is_a_page_too():
    both = [evening(), manifest("other")]
    page = said("report", "--all", "-o", "html", pools=both).out
    assert page.count("<section>") == 2
    assert "No WarmPool" in said("report", "-o", "html", pools=[]).out


# --- Prometheus ---


@pytest.fixture
def prometheus():
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        answer = json.dumps({"data": {"result": [{"value": [1, "41.7"]}]}})
        status = 200

        def do_GET(self):
            asked.append(self.path)
            self.send_response(self.status)
            self.end_headers()
            self.wfile.write(self.answer.encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.handler = asked, Handler
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_requests_come_from_a_prometheus(prometheus):
    url = f"http://127.0.0.1:{prometheus.server_port}"
    (found,) = said("report", "voice", "-o", "json", "--prometheus", url, pools=[evening()]).json
    assert found["requests"] == 42
    assert "kotatsu_http_requests_total" in prometheus.asked[0]
    assert "voice-%5Ba-z0-9-%5D%2B" in prometheus.asked[0]


@pytest.mark.parametrize("answer", ["no", "[]", '{"data": {"result": [{"value": 3}]}}', "[" * 9999])
def test_another_answer_is_an_error_in_one_sentence(prometheus, answer):
    prometheus.handler.answer = answer
    url = f"http://user:secret@127.0.0.1:{prometheus.server_port}"
    ran = said("report", "voice", "--prometheus", url, pools=[evening()])
    assert ran.code == 1
    assert ran.err.startswith("error: --prometheus: the answer is not that of a Prometheus")
    assert "secret" not in ran.err


def test_a_refusal_names_the_host_and_no_secret(prometheus):
    prometheus.handler.status = 403
    url = f"http://user:secret@127.0.0.1:{prometheus.server_port}"
    ran = said("report", "voice", "--prometheus", url, pools=[evening()])
    assert "127.0.0.1 answers with status 403" in ran.err
    assert "secret" not in ran.err


@pytest.mark.slow
def test_the_api_server_keeps_every_field_of_a_history(api: Api):
    earlier = {**OVERRIDE, "episodes": 7, "wakes": 1, "opened": 2, "cold": 3}
    del earlier["reason"], earlier["name"], earlier["replicas"]
    whole = {**WINDOW, "wakes": 1, "cold": 2}
    history = {"since": START, "episodes": [whole], "running": RUNNING, "earlier": [earlier]}
    api.set_status("voice", history=history)
    assert api.get("warmpool", "voice")["status"]["history"] == history


def parked_evening() -> dict:
    """The evening, with parked pods after its window."""
    parked = {k: v for k, v in OVERRIDE.items() if k != "name"} | {"reason": "Parked"}
    history = {"since": START, "episodes": [WINDOW, parked], "running": RUNNING}
    made = evening(history=history)
    made["spec"]["parked"] = {}
    return made


def test_the_report_tells_parked_time_from_warm_time():
    ran = said("report", "voice", "-o", "json", pools=[parked_evening()])
    (found,) = ran.json
    assert [e["reason"] for e in found["episodes"]] == ["Window", "Parked", "Request"]
    assert found["parked"]["costs"] == {"JPY": "2.765625"}
    assert found["ledger"][0]["equal"]
    text = said("report", "voice", pools=[parked_evening()]).out
    assert "of it parked, JPY" in text
    assert "of them parked" in text
    assert "always parked" in text


def test_parked_time_has_a_colour_and_a_key_on_the_page_and_a_reason_in_the_csv():
    page = said("report", "voice", "-o", "html", pools=[parked_evening()]).out
    assert 'fill="var(--Parked)" fill-opacity="0.5"' in page
    assert '<span class="key" style="--key: var(--Parked)">Parked</span>' in page
    rows = [
        *csv.DictReader(
            said("report", "voice", "-o", "focus", pools=[parked_evening()]).out.splitlines()
        )
    ]
    assert [row["x_Reason"] for row in rows] == ["Window", "Parked", "Request"]
