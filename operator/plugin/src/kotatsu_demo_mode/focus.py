"""The report as CSV in the shape of the FinOps FOCUS specification.

The columns are the mandatory ones of FOCUS 1.2, the two names of providers that 1.3 adds, and those
of usage and resources that apply. Kotatsu sends no invoice: its cost is a share of what a cloud
bills, at your prices. So BilledCost is 0 in every row, and EffectiveCost has the cost. A file like
this beside a cloud's own does not count the same money twice.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from kotatsu_operator.core.budget.ledger import period_at
from kotatsu_operator.core.formats import table
from kotatsu_operator.core.report.episodes import Purse

from .times import stamp

if TYPE_CHECKING:
    from .past import Report

_US = "Kotatsu"
_MONEY = ("ContractedCost", "EffectiveCost", "ListCost")
COLUMNS = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency",
    "ChargePeriodEnd", "ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit", "ContractedCost",
    "EffectiveCost", "HostProviderName", "InvoiceIssuerName", "ListCost", "PricingQuantity",
    "PricingUnit", "ProviderName", "PublisherName", "ResourceId", "ResourceName", "ResourceType",
    "ServiceCategory", "ServiceName", "ServiceProviderName", "ServiceSubcategory", "SubAccountId",
    "SubAccountName", "Tags", "x_Reason", "x_ReasonName",
)  # fmt: skip


def lines(reports: Sequence["Report"], account: str) -> Iterator[str]:
    """The lines of the file: a head, and one row for each episode that has a cost."""
    yield _line(COLUMNS)
    for report in reports:
        for row in _rows(report, account):
            yield _line([row.get(name, "") for name in COLUMNS])


def _line(cells: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(cells)
    return out.getvalue()


def _rows(report: "Report", account: str) -> Iterator[dict[str, str]]:
    past = report.past
    for row in past.rows:
        if row.cost is None:
            continue
        cause = row.episode.cause
        charged = _charged(report, row.episode.purse, row.begin, row.end, row.cost, row.pod_seconds)
        yield (
            _fixed(report, account)
            | charged
            | {
                "ChargeDescription": f"Pods of WarmPool {report.pool.name}: {cause.why.value}",
                "x_Reason": cause.why.value,
                "x_ReasonName": cause.name if cause.name[:1] not in _FORMULA else f"'{cause.name}",
            }
        )
    for s in past.sums:
        if s.cost is not None:
            charged = _charged(report, s.purse, s.begin, s.end, s.cost, s.counts.pod_seconds)
            what = f"Pods of WarmPool {report.pool.name}: {s.episodes} older episodes"
            yield _fixed(report, account) | charged | {"ChargeDescription": what}


_FORMULA = frozenset("=+-@")
"""A spreadsheet runs a cell that begins with one of them."""


def _fixed(report: "Report", account: str) -> dict[str, str]:
    pool = report.pool
    meta = table(pool.raw.get("metadata"))
    labels: Mapping[str, object] = table(meta.get("labels"))
    return {
        "BilledCost": "0",
        "BillingAccountId": account,
        "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based",
        "ConsumedUnit": "Pod-Hours",
        "PricingUnit": "Pod-Hours",
        "HostProviderName": _US,
        "InvoiceIssuerName": _US,
        "ProviderName": _US,
        "PublisherName": _US,
        "ServiceProviderName": _US,
        "ServiceCategory": "Compute",
        "ServiceSubcategory": "Containers",
        "ServiceName": "WarmPool",
        "ResourceId": f"{pool.namespace}/{pool.name}",
        "ResourceName": pool.name,
        "ResourceType": "WarmPool",
        "SubAccountId": pool.namespace,
        "SubAccountName": pool.namespace,
        "Tags": json.dumps({str(k): str(v) for k, v in labels.items()}),
    }


def _charged(
    report: "Report",
    purse: Purse,
    begin: datetime,
    end: datetime,
    cost: Decimal,
    pod_seconds: Decimal,
) -> dict[str, str]:
    spec = report.pool.spec
    start = purse.period or begin
    hours = f"{pod_seconds / 3600:.6f}"
    return {
        "BillingCurrency": purse.currency,
        "BillingPeriodStart": stamp(start),
        "BillingPeriodEnd": stamp(period_at(spec.budget.period, spec.zone, start)[1]),
        "ChargePeriodStart": stamp(begin),
        "ChargePeriodEnd": stamp(end),
        "ConsumedQuantity": hours,
        "PricingQuantity": hours,
        **dict.fromkeys(_MONEY, f"{cost:.6f}"),
    }
