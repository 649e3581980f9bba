"""kubectl demo-mode: the switch of a warm pool, for the person who gives the demo."""
