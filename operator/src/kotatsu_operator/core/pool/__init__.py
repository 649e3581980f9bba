"""The spec of a pool; what is observed, remembered and decided."""
