"""Recipes: typed, frozen, written as TOML, derived from one another, overridden key by key."""

import hashlib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Self

import tomli_w
from pydantic import BaseModel, ValidationError, field_validator, model_validator

from toynet.augment.spec import AugmentSpec
from toynet.core.errors import UsageError, did_you_mean
from toynet.core.files import canonical_json
from toynet.core.records import Record
from toynet.data.spec import DataSpec
from toynet.evaluation.spec import EvalSpec
from toynet.models.spec import ModelSpec
from toynet.training.spec import LossSpec, OptimSpec, ScheduleSpec, TrainSpec

Table = dict[str, Any]


_LONGEST_LABEL = 60
_IN_WORDS = {
    "tuple_type": "input should be a list, such as [16, 32]",
    "model_type": "this is a table of settings; set its keys one by one",
}
"""What pydantic says in Python's words, by type of error."""


class Recipe(Record):
    """Everything that decides a run's outcome but the images themselves."""

    name: str
    data: DataSpec = DataSpec()
    augment: AugmentSpec = AugmentSpec()
    model: ModelSpec = ModelSpec()
    loss: LossSpec = LossSpec()
    optim: OptimSpec = OptimSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    train: TrainSpec = TrainSpec()
    eval: EvalSpec = EvalSpec()

    @model_validator(mode="after")
    def _parts_go_together(self) -> Self:
        needs = {"train.early_stop": self.train.early_stop, "schedule.plateau": self.schedule.plateau}
        for key in (key for key, value in needs.items() if value and self.data.protocol == "full"):
            raise ValueError(f"{key} reads validation scores, and data.protocol=full has none")
        if not self.eval.test and self.data.protocol == "full":
            raise ValueError("eval.test=false leaves nothing to score: data.protocol=full validates nothing")
        if self.model.head == "flatten" and self.train.small is not None:
            raise ValueError(
                "train.small changes the images' size, which model.head=flatten must know; use gap"
            )
        return self

    @field_validator("name")
    @classmethod
    def _is_a_line(cls, name: str) -> str:
        if not name.strip() or not name.isprintable():
            raise ValueError("give one line of text")
        return name

    @classmethod
    def load(cls, name: str, overrides: Mapping[str, Any] | None = None) -> Self:
        """A shipped recipe by name, or a TOML file by path, with `overrides` such as {"optim.lr": 5e-4}.

        Raises `UsageError`, one line, for an unknown recipe or key and for an impossible value.
        """
        table = _read(name)
        for key, value in (overrides or {}).items():
            _set(table, key, value, recipe=name)
        return cls.from_table(name, table)

    @classmethod
    def from_table(cls, name: str, table: Table) -> Self:
        """Validate plain tables; `name` is used in errors and kept as the recipe's name."""
        try:
            return cls.model_validate({**table, "name": table.get("name", name)})
        except ValidationError as error:
            raise UsageError(f"recipe {name}: {_explain(error)}") from None

    def with_changes(self, changes: Mapping[str, Any]) -> Self:
        """A copy with dotted keys replaced, validated anew."""
        table = self.to_table()
        for key, value in changes.items():
            _set(table, key, value, recipe=self.name)
        return self.from_table(self.name, table)

    @property
    def label(self) -> str:
        """The name as a part of a folder's name."""
        plain = Path(self.name).stem if self.name.endswith(".toml") else self.name
        return re.sub(r"[^A-Za-z0-9._+=-]", "-", plain).lstrip(".-_+=")[:_LONGEST_LABEL] or "run"

    def to_table(self) -> Table:
        """Plain tables without the keys that are none (TOML has no word for it)."""
        return {key: _without_none(value) for key, value in self.model_dump(mode="json").items()}

    def to_toml(self) -> str:
        return tomli_w.dumps(self.to_table())

    def settings(self) -> dict[str, Any]:
        """Every leaf under its dotted key: {"optim.lr": 0.001, ...}."""
        return dict(_leaves(self.model_dump(mode="json"), ""))

    def identity(self, data_digest: str) -> str:
        """sha256 over all that can affect the result: the settings, the seed among them, and the images.

        Settings at their default are left out, so that a setting which a later version adds does not change
        the identity of what is on disk. Kernels, memory format and threads change the rounding only and are
        left out too; so is where images and first weights lie (the content of the latter counts).
        """
        table = self.model_dump(mode="json", exclude={"name"}, exclude_defaults=True)
        table.get("data", {}).pop("name", None)
        table.get("model", {}).pop("weights", None)
        for key in ("checkpoint_every", "kernels", "memory_format", "threads"):
            table.get("train", {}).pop(key, None)
        table = {section: settings for section, settings in table.items() if settings}
        return hashlib.sha256(canonical_json([table, data_digest]).encode()).hexdigest()


def shipped() -> dict[str, str]:
    """The shipped recipes' names and the sentence that each opens with, bases left out."""
    return {name: heading(text)[1] for name, text in _shipped_texts().items() if not name.endswith("base")}


def source(name: str) -> str:
    """The text of a recipe, comments included. Raises `UsageError` for an unknown one."""
    path = Path(name)
    if path.suffix == ".toml":
        try:
            return path.read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise UsageError(f"recipe {name}: cannot be read ({reason})") from None
    texts = _shipped_texts()
    if name not in texts:
        raise UsageError(f"there is no recipe {name}; {did_you_mean(name, shipped())}")
    return texts[name]


def heading(text: str) -> tuple[str, str]:
    """The command and the description in a recipe's opening comment lines."""
    comments = [line.lstrip("# ").rstrip() for line in text.splitlines() if line.startswith("#")]
    command, description, *_ = [*comments, "", ""]
    return command, description


def setting_names() -> list[str]:
    """All dotted keys that `--set` takes."""
    return [key for key in _field_names(Recipe, "") if key != "name"]


def parse_value(text: str) -> Any:
    """The value in `--set key=value`: TOML where it is TOML, else the text itself."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return table["value"] if len(table) == 1 else text


def _shipped_texts() -> dict[str, str]:
    root = Path(str(resources.files("toynet"))) / "recipes"
    files = sorted(root.rglob("*.toml"))
    return {file.relative_to(root).with_suffix("").as_posix(): file.read_text("utf-8") for file in files}


def _read(name: str, below: tuple[str, ...] = ()) -> Table:
    if name in below:
        raise UsageError(f"recipe {name} extends itself ({' -> '.join((*below, name))})")
    try:
        table = tomllib.loads(source(name))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"recipe {name}: not valid TOML ({error})") from None
    base = table.pop("extends", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise UsageError(f"recipe {name}: extends must be the name of a recipe")
    if base.endswith(".toml"):
        base = os.path.normpath(Path(name).parent / base)
    return _merge(_read(base, (*below, name)), table)


def _merge(base: Table, over: Table) -> Table:
    merged = dict(base)
    for key, value in over.items():
        both_tables = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both_tables else value
    return merged


def _set(table: Table, key: str, value: Any, *, recipe: str) -> None:
    *path, last = key.split(".")
    names = setting_names()
    if key not in names and not any(name.startswith(f"{key}.") for name in names):
        raise UsageError(f"recipe {recipe}: {key} is not a setting; {_near_setting(key)}")
    for step in path:
        if not isinstance(table.get(step), dict):
            table[step] = {}
        table = table[step]
    table[last] = value


def _explain(error: ValidationError) -> str:
    """The first problem of a validation error, as one line that names the key."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{key} is not a setting; {_near_setting(key)}"
    message = _IN_WORDS.get(first["type"], first["msg"]).removeprefix("Value error, ")
    given = first["input"]
    shown = "" if isinstance(given, dict) else f", got {given!r}"
    return f"{key}: {message[:1].lower()}{message[1:]}{shown}" if key else message


def _near_setting(key: str) -> str:
    names = setting_names()
    section, dot, _ = key.partition(".")
    if not dot:
        return did_you_mean(key, {name.partition(".")[0] for name in names})
    within = [name for name in names if name.startswith(f"{section}.")]
    return did_you_mean(key, within or names)


def _field_names(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if inner:
            yield from _field_names(inner[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _leaves(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return value
