"""Pods and activators, asked now."""
