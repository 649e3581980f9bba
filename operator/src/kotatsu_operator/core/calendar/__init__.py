"""Cron windows, wall-clock times and daylight-saving time."""
