"""Writes to targets."""
