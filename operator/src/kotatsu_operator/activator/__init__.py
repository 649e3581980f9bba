"""The activator: holds connections to a sleeping pool, wakes it and forwards bytes."""
