"""The operator: observes, decides, acts and reports."""
