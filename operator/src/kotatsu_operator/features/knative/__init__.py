"""Knative Services as targets (docs/knative.md)."""
