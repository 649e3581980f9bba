"""From the observation, the memory and the time to a decision."""
