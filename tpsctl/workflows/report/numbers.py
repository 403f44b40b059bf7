"""Numbers of a report as text."""


def number(value: float | None, digits: int = 1) -> str:
    """A number with a fixed number of decimals, "-" if it is unknown."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def count(amount: int, noun: str) -> str:
    """A number with its noun, e.g. "1 path" or "16 paths"."""
    return f"{amount} {noun}{'' if amount == 1 else 's'}"
