"""Bytes while held: a client that asked for a stream gets comments until its pod answers."""
