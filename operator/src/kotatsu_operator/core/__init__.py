"""Pure functions and values: no I/O, no clock. The kubectl plugin uses them too."""
