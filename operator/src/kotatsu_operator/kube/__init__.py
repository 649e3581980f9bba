"""The API server: client, kinds, errors, and Kubernetes objects read into values."""
