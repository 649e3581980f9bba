"""The services of the pet in one process on one port: the inner loop of work on the app."""
