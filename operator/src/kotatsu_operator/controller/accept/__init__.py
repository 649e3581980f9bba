"""Whether a pool can be used."""
