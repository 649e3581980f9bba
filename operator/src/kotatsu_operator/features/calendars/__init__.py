"""Pools follow calendars of the chart's values (docs/calendars.md)."""
