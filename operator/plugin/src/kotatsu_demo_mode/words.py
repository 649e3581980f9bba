"""Numbers with their nouns."""


def pods(count: int) -> str:
    """A number of pods."""
    return "1 pod" if count == 1 else f"{count} pods"


def shown_pods(replicas: int, *, parked: bool) -> str:
    """A number of pods in a table."""
    return f"{replicas} parked" if parked else str(replicas)


def windows_pods(replicas: int, *, parked: bool) -> str:
    """The pods of a window, and whether they are parked."""
    return f"{pods(replicas)}, parked" if parked else pods(replicas)


def days(count: int) -> str:
    """A number of days."""
    return "1 day" if count == 1 else f"{count} days"
