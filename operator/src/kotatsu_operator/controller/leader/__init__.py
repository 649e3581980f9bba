"""Leader election by a Lease, and outages of the API server."""
