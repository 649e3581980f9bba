"""HTTP/1 heads, and the activator's own answers."""
