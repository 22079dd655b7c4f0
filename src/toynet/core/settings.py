"""The base of every table of a recipe: frozen, and exact about what it accepts."""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import ConfigDict, ValidationInfo, field_validator

from toynet.core.records import Record


class Settings(Record):
    """A table of a recipe. Nothing is converted on the quiet: a number is no text, no truth value, finite.

    The word `none` takes an optional setting back to its default.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _exact(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[str(info.field_name)]
        if value == "none" and field.default is None:
            return None
        kinds = set(_kinds(field.annotation))
        if kinds <= {int, float, type(None)} and isinstance(value, bool | str):
            raise ValueError("input should be a number")
        if kinds == {bool} and not isinstance(value, bool):
            raise ValueError("input should be true or false")
        return value


def _kinds(annotation: Any) -> Iterator[Any]:
    """The plain types in an annotation: `int` and `None` in `Annotated[int, ...] | None`."""
    inner = get_args(annotation)
    if not inner:
        yield annotation
    for part in inner[:1] if hasattr(annotation, "__metadata__") else inner:
        yield from _kinds(part)
