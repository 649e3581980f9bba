"""The namespace as the activator's watches have shown it."""
