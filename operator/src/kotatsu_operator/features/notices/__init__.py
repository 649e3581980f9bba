"""Notifications: tells receivers outside the cluster what happens to pools."""
