"""Whether a pool can be used. A rejected pool gets a reason and a remedy."""
