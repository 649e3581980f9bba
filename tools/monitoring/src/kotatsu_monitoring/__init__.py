"""What the charts and docs say about metrics, made from the code."""
