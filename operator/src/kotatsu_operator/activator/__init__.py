"""The activator: holds connections of a sleeping pool, wakes it, and splices bytes through."""
