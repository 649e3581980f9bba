"""Programs that Helm hooks run."""
