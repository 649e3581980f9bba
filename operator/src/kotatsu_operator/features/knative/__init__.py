"""Knative Services as targets (docs/how-to/knative.md)."""
