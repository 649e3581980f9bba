"""From decisions to status and conditions, and back."""
