"""The API server: client, kinds, errors, and objects read into values."""
