"""A stand-in for GitHub: the few endpoints that the pet's services use, with failures on demand.

Never part of a default install. The token `demo` is the user `demo`, `demo-<name>` is `<name>`.
"""
