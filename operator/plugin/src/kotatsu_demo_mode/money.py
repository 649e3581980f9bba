"""Amounts of money, formatted."""

from decimal import Decimal

UNKNOWN = "-"


def amount(value: Decimal | None, currency: str = "") -> str:
    """An amount with a few significant digits: `6,730`, `18.40`, `0.0052`; `-` if unknown."""
    if value is None:
        return UNKNOWN
    if abs(value) >= 1000:
        text = f"{value:,.0f}"
    elif abs(value) >= 1 or value == 0:
        text = f"{value:.2f}"
    else:
        text = f"{value:.2g}" if abs(value) < Decimal("0.01") else f"{value:.2f}"
    return f"{text} {currency}".rstrip()


def number(value: Decimal | None) -> float | None:
    """An amount for JSON, rounded to six decimals."""
    return None if value is None else round(float(value), 6)
