"""Pools follow calendars of the chart's values (docs/how-to/calendars.md)."""
