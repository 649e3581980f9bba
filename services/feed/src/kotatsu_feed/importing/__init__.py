"""`kotatsu-feed import`: the pets of the app's first version, from an export of its table."""
