"""Calendars that the operator follows: read from mounted files and from URLs."""
