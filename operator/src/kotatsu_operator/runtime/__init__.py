"""Shared parts of each process: health server, heartbeat, settings, API metrics, plain HTTP."""
