"""Parked pods: Ready, with smaller requests (docs/protocol.md, "Parked pods")."""
