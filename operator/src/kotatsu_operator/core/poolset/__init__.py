"""WarmPoolSets: what a set asks for, and which pools it wants in a namespace."""
