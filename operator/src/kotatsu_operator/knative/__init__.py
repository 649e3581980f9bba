"""Knative Services as targets: see them, and set their Revisions' floor."""
