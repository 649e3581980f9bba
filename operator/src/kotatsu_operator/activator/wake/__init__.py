"""Announce a request, raise the scale, probe the pods."""
