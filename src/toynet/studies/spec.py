"""A study file: a question, a control, variants that name what they change, and seeds. TOML.

question = "Does dropout before the dense layer help?"
recipe = "default"                  # the control
seeds = "auto"                      # looks at 5, 8, 12 and 20 seeds; or a number

[set]                               # for every arm, the control among them
"train.epochs" = 8

[variant.dropout_03]
"model.dropout" = 0.3

Instead of variants, `[factors]` names keys with two values each, and every combination of them is an arm.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from toynet.core.errors import UsageError, did_you_mean
from toynet.core.records import Record
from toynet.core.wording import setting
from toynet.runs import recipe as recipes
from toynet.runs.recipe import Recipe

Metric = Literal["val_accuracy", "best_val_accuracy", "test_accuracy"]
Cost = Literal["epochs", "samples", "parameters", "macs", "time"]
COSTS: tuple[Cost, ...] = get_args(Cost)

CONTROL = "control"
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h)")
_SECONDS = {"s": 1, "min": 60, "h": 3600}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+=-]{0,59}")
_LONGEST = 120
_KEYS_OF_A_VARIANT = ("recipe", "note")
_OURS = {
    "train.seed": "the seeds are the study's; set first_seed",
    "train.threads": "the study gives every run its threads; set --jobs",
    "eval.test": "studies read validation only; toynet final reads test",
}
"""Settings that are not for an arm to choose, and why."""


class Variant(Record):
    """An arm that is not the control: another recipe, other values for some keys, or both."""

    name: str
    recipe: str | None = None
    note: str = ""
    changes: dict[str, Any] = Field(default_factory=dict)


class StudySpec(Record):
    """What a study asks, and of what."""

    name: str
    question: str
    recipe: str
    seeds: Literal["auto", "open-ended"] | Annotated[int, Field(ge=2, le=1000)] = "auto"
    """`auto`: looks after 5, 8, 12 and 20 seeds. `open-ended`: a look after every seed, without an end."""

    first_seed: Annotated[int, Field(ge=0)] = 0
    vary_split: bool = False
    """Set other training images apart to validate on for each seed, the same for all arms."""

    metric: Metric = "val_accuracy"
    margin: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """The least difference that matters, in points of accuracy. None: 3 % of the control's error at the first
    look, 0.2 at least."""

    budget: str | None = None
    """The longest that all of it may take on this machine: "90 s", "45 min" or "2.5 h". A study whose first
    look would take longer is refused before its first run, and a further look that would is not begun."""

    unequal: tuple[Cost, ...] = ()
    """Costs in which arms may differ from what they are compared with and still get a verdict."""

    chain: bool = False
    """Compare each variant with the one before it, not with the control."""

    everywhere: dict[str, Any] = Field(default_factory=dict)
    """`[set]` in the file: keys for every arm, the control among them."""

    variants: tuple[Variant, ...] = ()
    factors: dict[str, tuple[Any, Any]] = Field(default_factory=dict)
    """In alphabetical order: an arm's levels go by place, and a journal sorts its keys."""

    generated: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """factors: those that follow from the product of others, so that not all combinations are run."""

    @field_validator("budget")
    @classmethod
    def _is_a_duration(cls, budget: str | None) -> str | None:
        if budget is not None and not _DURATION.fullmatch(budget):
            raise ValueError('write a time, such as "45 min", "2.5 h" or "90 s"')
        return budget

    @field_validator("factors")
    @classmethod
    def _in_order(cls, factors: dict[str, tuple[Any, Any]]) -> dict[str, tuple[Any, Any]]:
        for key, (one, other) in factors.items():
            if one == other:
                raise ValueError(f"{key}: name two different values, or there is nothing to compare")
        return dict(sorted(factors.items()))

    @model_validator(mode="after")
    def _has_arms(self) -> Self:
        if bool(self.variants) == bool(self.factors):
            raise ValueError("a study needs either [variant.NAME] tables or a [factors] table")
        for key, parts in self.generated.items():
            free = [factor for factor in self.factors if factor not in self.generated]
            if key not in self.factors or len(parts) < 2 or not set(parts) <= set(free):
                raise ValueError(
                    f"generated.{key}: name a factor, and two or more others that it follows from"
                )
        if self.factors and self.chain:
            raise ValueError("chain is for variants, not for [factors]")
        return self

    @classmethod
    def load(cls, name: str, overrides: Mapping[str, Any] | None = None) -> Self:
        """A shipped study by name, or a TOML file by path; `overrides` replace its outermost keys.

        Raises `UsageError`, one line, for a study or key that is not known and for an impossible value.
        """
        given = {key: value for key, value in (overrides or {}).items() if value is not None}
        return cls.from_table(_plain_name(name), {**_read(name), **given}, Path(name).parent)

    @classmethod
    def trying(
        cls, recipe: str, tries: Mapping[str, Any], overrides: Mapping[str, Any] | None = None
    ) -> Self:
        """A study of a recipe, by name or TOML path, that needs no file: each of `tries` is a variant.

        Raises `UsageError` as `load` does.
        """
        given = {key: value for key, value in (overrides or {}).items() if value is not None}
        label = Recipe.load(recipe).label
        names = {key: _variant_name(key.rpartition(".")[2], value) for key, value in tries.items()}
        if len(set(names.values())) < len(tries):
            names = {key: _variant_name(key, value) for key, value in tries.items()}
        variants = {names[key]: {key: value} for key, value in tries.items()}
        told = " or ".join(f"{key} = {setting(value)}" for key, value in tries.items())
        table = {"recipe": recipe, "question": f"Does {told} help {label}?", "variant": variants, **given}
        return cls.from_table("-".join([label, *variants])[:_LONGEST], table)

    @classmethod
    def from_table(cls, name: str, table: dict[str, Any], folder: Path = Path()) -> Self:
        """Validate plain tables. Recipes that are files are looked for in `folder`."""
        renamed = {"set": "everywhere", "variant": "variants"}
        known = [key for key in cls.model_fields if key not in ("name", *renamed.values())] + list(renamed)
        for key in table:
            if key not in known:
                raise UsageError(f"study {name}: {key} is not a setting; {did_you_mean(key, known)}")
        variants = table.get("variant", {})
        if not isinstance(variants, dict) or not all(isinstance(inner, dict) for inner in variants.values()):
            raise UsageError(f"study {name}: variant: write each as a table, [variant.NAME]")
        if table.get("metric") == "test_accuracy":
            raise UsageError(f"study {name}: metric: studies read validation only; toynet final reads test")
        rest = {renamed.get(key, key): value for key, value in table.items() if key != "variant"}
        for part in ("everywhere", "factors"):
            if isinstance(rest.get(part), dict):
                rest[part] = _dotted(rest[part])
                _check_keys(name, rest[part])
        if isinstance(rest.get("recipe"), str):
            rest["recipe"] = _beside(rest["recipe"], folder)
        try:
            found = [_variant(name, label, inner, folder) for label, inner in variants.items()]
            return cls.model_validate({"question": "", **rest, "name": name, "variants": found})
        except ValidationError as error:
            raise UsageError(f"study {name}: {_explain(error)}") from None

    def variant_keys(self, arm: str) -> tuple[str, ...]:
        """What the file sets for one variant; nothing for another arm."""
        found = (tuple(variant.changes) for variant in self.variants if variant.name == arm)
        return next(found, ())

    @property
    def images_vary(self) -> bool:
        """Whether each seed is scored on other images; all seeds of a final claim share the test images."""
        return self.vary_split and self.metric != "test_accuracy"

    @property
    def budget_s(self) -> float:
        """In seconds; infinite where there is none."""
        if self.budget is None:
            return inf
        found = _DURATION.fullmatch(self.budget)
        assert found is not None  # the validator has matched it
        return float(found[1]) * _SECONDS[found[2]]

    def with_settings(self, settings: Mapping[str, Any]) -> Self:
        """The same with `settings` for every arm."""
        _check_keys(self.name, settings)
        return self.model_copy(update={"everywhere": {**self.everywhere, **settings}})


def _variant_name(key: str, value: object) -> str:
    return re.sub(r"[^A-Za-z0-9_.+=-]", "_", f"{key}={setting(value)}")[:60]


def shipped() -> list[str]:
    """The names of the studies that come with ToyNet."""
    folder = resources.files("toynet.studies") / "shipped"
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def source(name: str) -> str:
    """The TOML text of a study, shipped or by path."""
    if name.endswith(".toml"):
        try:
            return Path(name).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"study {name} cannot be read ({getattr(error, 'strerror', error)})") from None
    if name not in shipped() and name in recipes.shipped():
        raise UsageError(
            f"{name} is a recipe; try a setting on it by --try KEY=VALUE, or write a study's file"
        )
    if name not in shipped():
        raise UsageError(
            f"there is no study {name}; {did_you_mean(name, shipped())}; a file's name ends in .toml"
        )
    return (resources.files("toynet.studies") / "shipped" / f"{name}.toml").read_text()


def _read(name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(source(name))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"study {name}: not TOML ({error})") from None


def _plain_name(name: str) -> str:
    return Path(os.path.basename(name)).stem if name.endswith(".toml") else name


def _check_keys(study: str, settings: Mapping[str, Any]) -> None:
    for key in settings:
        if key in _OURS:
            raise UsageError(f"study {study}: {key}: {_OURS[key]}")


def _beside(recipe: str, folder: Path) -> str:
    """A recipe's file as seen from the study's, as `extends` is in a recipe."""
    return str(folder / recipe) if recipe.endswith(".toml") else recipe


def _variant(study: str, name: str, table: dict[str, Any], folder: Path) -> Variant:
    if name == CONTROL or not _NAME.fullmatch(name):
        raise UsageError(
            f"study {study}: variant.{name}: a variant's name has letters, digits and _ . + = -, 60 at most, "
            f"and is not {CONTROL!r}"
        )
    own = {key: table[key] for key in _KEYS_OF_A_VARIANT if key in table}
    changes = {key: value for key, value in table.items() if key not in own}
    if not changes and "recipe" not in own:
        raise UsageError(f'study {study}: variant.{name} changes nothing; give it a key such as "optim.lr"')
    changes = _dotted(changes)
    _check_keys(study, changes)
    if isinstance(own.get("recipe"), str):
        own["recipe"] = _beside(own["recipe"], folder)
    return Variant(name=name, changes=changes, **own)


def _dotted(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Both ways to write a key of two parts: "optim.lr" = 1 and optim.lr = 1."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict) and "." not in f"{prefix}{key}":
            flat |= _dotted(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["loc"][:1] == ("seeds",):
        return f"seeds: auto, open-ended or a number from 2 to 1000, got {first['input']!r}"
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    message = f"{message[:1].lower()}{message[1:]}"
    got = "" if isinstance(first["input"], dict) else f", got {first['input']!r}"
    return f"{key}: {message}{got}" if key else message
