"""The values of one pool: spec, observation, memory and decision."""
