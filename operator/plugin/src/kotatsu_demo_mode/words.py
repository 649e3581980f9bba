"""Numbers with their nouns."""


def pods(count: int) -> str:
    """A number of pods."""
    return "1 pod" if count == 1 else f"{count} pods"


def days(count: int) -> str:
    """A number of days."""
    return "1 day" if count == 1 else f"{count} days"
