"""HTTP: the wire format, which an existing client depends on to the letter."""
