"""The examples of the help. Tests run each of them against a real API server."""

EXAMPLES = {
    "": """\
  # Keep voice warm for two hours; return when it is Warm
  kubectl demo-mode on voice --for 2h --wait
  # The phase of each pool, and the reason
  kubectl demo-mode status
  # Return to the schedule
  kubectl demo-mode off voice
""",
    "on": """\
  # Warm a pool for an hour
  kubectl demo-mode on voice
  # Until half past six in the pool's time zone, with three pods
  kubectl demo-mode on voice --until 18:30 --replicas 3
  # All pools of a team, with a reason for other people
  kubectl demo-mode on -l team=pet --for 2h --reason "pitch at HQ"
  # Return when the pods are Ready
  kubectl demo-mode on voice --for 30m --wait
  # Let the API server validate the change, without making it
  kubectl demo-mode on --all --for 45m --dry-run
""",
    "off": """\
  # The demo is over
  kubectl demo-mode off voice
  # End every override of the namespace
  kubectl demo-mode off
  # Asleep at once, even if a window is open
  kubectl demo-mode off voice --now
""",
    "window": """\
  # Five pods from ten to twelve, in the pool's time zone
  kubectl demo-mode window add final-pitch voice --at 2030-12-18T10:00 --for 2h --replicas 5
  # The events of a calendar; again when it has changed
  kubectl demo-mode window import pitch.ics voice
  # The windows of this namespace
  kubectl demo-mode window list
  # The event is cancelled
  kubectl demo-mode window remove final-pitch voice
""",
    "window add": """\
  # Five pods from ten to twelve, in the pool's time zone
  kubectl demo-mode window add final-pitch voice --at 2030-12-18T10:00 --for 2h --replicas 5
  # All pools of a team
  kubectl demo-mode window add final-pitch -l team=pet --at 2030-12-18T10:00 --for 2h
  # Each evening from Monday to Friday
  kubectl demo-mode window add practice voice --schedule "0 18 * * 1-5" --for 90m
  # The price and overlaps, without the change; the API server validates it
  kubectl demo-mode window add pitch --all --at 18:30 --for 45m --dry-run=server
  # In a script: do not ask, and print the pool without the price
  kubectl demo-mode window add pitch voice --at 2030-12-18T10:00 --yes -o json 2>/dev/null
""",
    "window import": """\
  # The events of a file
  kubectl demo-mode window import pitch.ics voice
  # Those with "pitch" in their title, five pods each, for all pools of a team
  kubectl demo-mode window import pitch.ics -l team=pet --match pitch --replicas 5
  # From standard input, under a name
  kubectl demo-mode window import - voice --calendar team < pitch.ics
  # What would change; the API server validates it
  kubectl demo-mode window import pitch.ics voice --days 14 --dry-run=server
""",
    "window list": """\
  # The windows of this namespace
  kubectl demo-mode window list
  # Of all namespaces, with schedules
  kubectl demo-mode window list -A -o wide
  # Of one pool, as JSON
  kubectl demo-mode window list voice -o json
""",
    "window remove": """\
  # The event is cancelled
  kubectl demo-mode window remove final-pitch -l team=pet
  # See first what would be removed
  kubectl demo-mode window remove final-pitch --all --dry-run
""",
    "check": """\
  # Will a WarmPool work for this Deployment?
  kubectl demo-mode check deployment/voice
  # With five pods; a warning fails too
  kubectl demo-mode check deployment/voice --replicas 5 --strict
  # Every pool of the cluster
  kubectl demo-mode check -A
  # The findings as JSON
  kubectl demo-mode check warmpool/voice -o json
""",
    "create": """\
  # Print a WarmPool with a window
  kubectl demo-mode create web --window pitch --at 2030-12-18T10:00 --for 2h --replicas 2
  # Two windows; --at, --schedule, --for and --replicas are of the window before them
  kubectl demo-mode create web --window a --at 18:30 --window b --schedule "0 18 * * 1-5"
  # Create it
  kubectl demo-mode create web --apply --yes
""",
    "status": """\
  # The pools of this namespace
  kubectl demo-mode status
  # Of all namespaces, with time zone, lead and message
  kubectl demo-mode status -A -o wide
  # The status that the operator wrote, as JSON
  kubectl demo-mode status voice -o json
""",
    "plan": """\
  # The coming week
  kubectl demo-mode plan
  # One pool, for a month
  kubectl demo-mode plan voice --days 31
  # All pools of one event: one picture, one total and one verdict
  kubectl demo-mode plan -l team=pet
  # A certain time, in the pool's time zone
  kubectl demo-mode plan voice --from 2030-12-15T00:00 --to 2030-12-22T00:00
  # A manifest, without a cluster
  kubectl demo-mode plan -f pool.yaml --days 14
  # The same as JSON
  kubectl demo-mode plan -f pool.yaml -o json
""",
    "cost": """\
  # What was spent, and the forecast
  kubectl demo-mode cost
  # Compared with Lambda provisioned concurrency, at your price
  kubectl demo-mode cost voice --lambda-price 0.0000041667 --lambda-currency USD
  # With instances of a different size than a pod
  kubectl demo-mode cost voice --lambda-price 0.0000041667 --lambda-memory 3008
  # As JSON
  kubectl demo-mode cost --all -o json
""",
    "report": """\
  # This period: what pools were warm for, and what it cost
  kubectl demo-mode report
  # This evening, in the pool's time zone
  kubectl demo-mode report voice --from 17:00 --to 23:00
  # For other tools: every episode, with all digits of its cost
  kubectl demo-mode report --all -o json
  # Compared with Lambda provisioned concurrency, at your price
  kubectl demo-mode report voice --lambda-price 0.0000041667 --lambda-currency USD
""",
    "rehearse": """\
  # Run the next window now, with requests from a pod in the cluster
  kubectl demo-mode rehearse voice
  # With the requests of the demo, five at a time
  kubectl demo-mode rehearse voice --path /voice --data text=hello --requests 50 --concurrency 5
  # From this machine through the gateway, like the audience
  kubectl demo-mode rehearse voice --url https://pet.example/voice
  # All pools of one event together, with one verdict
  kubectl demo-mode rehearse -l team=pet --requests 10
  # Skip the sleep and the cold wake; fail if the p95 is above a second
  kubectl demo-mode rehearse voice --warm-only --max-p95 1s
""",
    "restore": """\
  # After an uninstall that was cut short: everything, in all namespaces
  kubectl demo-mode restore -A
  # See first what would be restored; the API server validates it
  kubectl demo-mode restore -A --dry-run
  # The targets of one namespace, or of some pools
  kubectl demo-mode restore --all -n demo
  kubectl demo-mode restore voice auth
  # Three pods, whatever the target had
  kubectl demo-mode restore voice --replicas 3
""",
    "convert": """\
  # A file with WarmPools of v1alpha1
  kubectl demo-mode convert -f pool.yaml > pool-v1beta1.yaml
  # Several files, as one
  kubectl demo-mode convert -f pool.yaml -f ./pool.yaml > pools.yaml
  # From standard input
  kubectl demo-mode convert < pool.yaml
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
    """The examples of a command, for its help."""
    return f"examples:\n{EXAMPLES[command].rstrip()}"
