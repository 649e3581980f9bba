"""HTTP/1 heads."""
