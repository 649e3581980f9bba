"""The record of what targets had before, and restoring it."""
