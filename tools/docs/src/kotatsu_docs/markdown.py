"""What the generated pages have in common: a text on one line, and the rows of a table."""


def line(text: str) -> str:
    """A text on one line."""
    return " ".join(text.split())


def cell(text: str) -> str:
    """A text on one line, as a cell of a table."""
    return line(text).replace("|", "\\|")


def row(*cells: str) -> str:
    """A row of a table; the cells are Markdown already."""
    return f"| {' | '.join(cells)} |"
