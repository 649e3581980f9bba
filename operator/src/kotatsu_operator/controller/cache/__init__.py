"""What the watches have shown."""
