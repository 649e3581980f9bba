"""Targets get back what they had."""
