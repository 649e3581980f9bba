"""Writes to targets: the scale, an HPA's minReplicas, a Revision's min-scale."""
