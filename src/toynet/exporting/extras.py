"""Packages that only exports need."""

from importlib import import_module
from types import ModuleType

from toynet.core.errors import ToyNetError


def require(extra: str, *names: str) -> tuple[ModuleType, ...]:
    """The modules called `names`; `ToyNetError` naming the pip extra where one is not installed."""
    try:
        return tuple(import_module(name) for name in names)
    except ImportError as error:
        lacking = (error.name or names[0]).partition(".")[0]
        raise ToyNetError(
            f"this export needs {lacking}, which is not installed: pip install 'toynet-lab[{extra}]'"
        ) from None
