"""What is written in several steps: the way down, requests of parked pods, capacity ahead."""
