"""When a pool should be warm: windows, overrides, idleness, demand, lead and pacing."""
