"""The namespace as watched."""
