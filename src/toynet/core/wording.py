"""Numbers and values in the words of a line that a user reads."""


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 seed`, `5 seeds`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def nats(loss: float) -> str:
    """A loss: `0.3127`, and `1.03e+23` of one that has run away."""
    return f"{loss:.4f}" if abs(loss) < 1e5 else f"{loss:.3g}"


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`, `4 days`: as exact as a forecast can be."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def setting(value: object) -> str:
    """A recipe's value as TOML writes it, `none` where there is none."""
    if value is None:
        return "none"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {setting(inner)}" for key, inner in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)
