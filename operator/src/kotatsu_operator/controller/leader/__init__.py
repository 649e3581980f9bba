"""Leading: the Lease, and outages of the API server."""
