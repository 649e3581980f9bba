"""The examples of the help. Tests run every one of them against a real API server."""

EXAMPLES = {
    "": """\
  # Keep voice warm for two hours, and return when it is
  kubectl demo-mode on voice --for 2h --wait
  # Where is everything, and why?
  kubectl demo-mode status
  # Back to the schedule
  kubectl demo-mode off voice
""",
    "on": """\
  # Warm a pool for an hour
  kubectl demo-mode on voice
  # Until half past six in the pool's time zone, with three pods
  kubectl demo-mode on voice --until 18:30 --replicas 3
  # Every pool of a team, with a reason that others see
  kubectl demo-mode on -l team=pet --for 2h --reason "pitch at HQ"
  # Return when the pods are Ready
  kubectl demo-mode on voice --for 30m --wait
  # Only ask the API server whether it would do it
  kubectl demo-mode on --all --for 45m --dry-run
""",
    "off": """\
  # The demo is over
  kubectl demo-mode off voice
  # End every override of the namespace
  kubectl demo-mode off
  # Asleep at once, though a window is open
  kubectl demo-mode off voice --now
""",
    "status": """\
  # The pools of this namespace
  kubectl demo-mode status
  # Of every namespace, with zone, lead and message
  kubectl demo-mode status -A -o wide
  # What the operator wrote, for a program
  kubectl demo-mode status voice -o json
""",
    "plan": """\
  # The coming week
  kubectl demo-mode plan
  # One pool, for a month
  kubectl demo-mode plan voice --days 31
  # A certain time, in the pool's zone
  kubectl demo-mode plan voice --from 2030-12-01T00:00 --to 2030-12-08T00:00
  # A manifest that is in no cluster
  kubectl demo-mode plan -f pool.yaml --days 14
  # The same for a program
  kubectl demo-mode plan -f pool.yaml -o json
""",
    "cost": """\
  # What was spent, and what is coming
  kubectl demo-mode cost
  # Against Lambda provisioned concurrency, at a price of yours
  kubectl demo-mode cost voice --lambda-price 0.0000041667 --lambda-currency USD
  # With instances of another size than a pod
  kubectl demo-mode cost voice --lambda-price 0.0000041667 --lambda-memory 3008
  # For a program
  kubectl demo-mode cost --all -o json
""",
    "rehearse": """\
  # Do tomorrow's demo today, from a pod in the cluster
  kubectl demo-mode rehearse voice
  # With requests as the demo has them, five at once
  kubectl demo-mode rehearse voice --path /voice --data text=hello --requests 50 --concurrency 5
  # As the audience will: from here, through the gateway
  kubectl demo-mode rehearse voice --url https://pet.example/voice
  # Leave out sleep and cold wake, and allow no p95 above a second
  kubectl demo-mode rehearse voice --warm-only --max-p95 1s
""",
    "completion": """\
  # For this shell (bash)
  source <(kubectl demo-mode completion bash)
  # For fish
  kubectl demo-mode completion fish
""",
}
"""Command ("" is the top) → its examples."""


def epilog(command: str) -> str:
    """The examples of one command as its help shows them."""
    return f"examples:\n{EXAMPLES[command].rstrip()}"
