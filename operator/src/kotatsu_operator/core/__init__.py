"""Pure functions and values: no I/O and no clock. The kubectl plugin uses the same code."""
