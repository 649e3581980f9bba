"""The console: a read-only page about every pool, from what the operator has watched."""
