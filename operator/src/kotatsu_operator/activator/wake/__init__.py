"""Announce, raise the scale, probe the pod."""
