"""Bytes from client to pod, and the limits on them."""
