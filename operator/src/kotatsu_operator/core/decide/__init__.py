"""From spec, observation, memory and time to a decision."""
