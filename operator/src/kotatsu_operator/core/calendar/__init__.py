"""Cron windows, wall clocks and daylight-saving time."""
