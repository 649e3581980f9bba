"""A throwaway one-node Kubernetes in its own network namespace, for machines without Docker."""
