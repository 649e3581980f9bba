"""The waiting page: what a browser gets while a pool wakes."""
