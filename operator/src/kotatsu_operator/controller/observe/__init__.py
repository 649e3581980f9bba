"""Requests to pods and activators for their metrics."""
