"""What should be warm when: windows, overrides, idleness, demand, lead, pacing."""
