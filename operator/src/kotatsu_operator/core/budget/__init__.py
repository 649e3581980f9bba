"""Prices, ledger, periods, forecast and limit of a budget."""
