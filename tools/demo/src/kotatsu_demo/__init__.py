"""make demo: from an empty machine to a pool that warms, speaks and sleeps."""
