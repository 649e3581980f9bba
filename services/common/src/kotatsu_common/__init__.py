"""What Kotatsu's services share: settings, health, metrics, problem details, identity."""
