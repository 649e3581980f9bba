"""What the show cost, and what the same pods would cost if nobody let them sleep."""

from __future__ import annotations

from decimal import Decimal

from kotatsu_demo.snapshot import Cost
from kotatsu_demo.story import Event

HOURS_A_MONTH = 730
"""The year's 8,760 hours by twelve, as clouds' price lists count."""


def bill(cost: Cost, full_rate: Decimal, replicas: int) -> Event:
    """The cost so far, and a month of `replicas` pods at `full_rate` an hour."""
    if not cost.currency:
        return Event("cost", "no prices are set (the chart value prices), so no cost is counted")
    month = full_rate * HOURS_A_MONTH
    text = (
        f"{cost.accrued:.2f} {cost.currency} so far, at example prices; {replicas} pods left on"
        f" for a month: {month:,.0f} {cost.currency}"
    )
    facts = {
        "currency": cost.currency,
        "accrued": str(cost.accrued),
        "month_left_on": f"{month:.2f}",
    }
    return Event("cost", text, facts)
