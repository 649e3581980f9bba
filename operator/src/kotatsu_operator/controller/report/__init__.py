"""Events and metrics about pools."""
