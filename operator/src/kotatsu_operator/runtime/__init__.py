"""What every process has: health server, heartbeat, settings."""
