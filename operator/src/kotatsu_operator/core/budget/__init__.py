"""Prices, ledger, periods, forecast and limit."""
