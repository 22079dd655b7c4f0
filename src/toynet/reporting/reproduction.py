"""How to make a study again: its file, its command, and the machine that it was made on."""

import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Any

import tomli_w

from toynet.core.errors import ToyNetError
from toynet.core.wording import counted
from toynet.studies.folder import Account
from toynet.studies.spec import StudySpec


def study_file(spec: StudySpec) -> str:
    """The TOML that `StudySpec.load` reads as this spec."""
    table: dict[str, Any] = {"question": spec.question, "recipe": spec.recipe, "seeds": spec.seeds}
    for key in ("first_seed", "vary_split", "metric", "margin", "budget", "unequal", "chain"):
        value, usual = getattr(spec, key), StudySpec.model_fields[key].default
        if value != usual:
            table[key] = list(value) if isinstance(value, tuple) else value
    if spec.everywhere:
        table["set"] = _written(spec.everywhere)
    if spec.variants:
        table["variant"] = {
            one.name: {
                **one.model_dump(include={"recipe", "note"}, exclude_defaults=True),
                **_written(one.changes),
            }
            for one in spec.variants
        }
    if spec.factors:
        table["factors"] = _written(spec.factors)
    if spec.generated:
        table["generated"] = {key: list(parts) for key, parts in spec.generated.items()}
    return tomli_w.dumps(table)


def recipe_files(account: Account) -> tuple[tuple[str, str], ...]:
    """The recipes that the study's file names by path, and what must be in those files."""
    spec, plan = account.plan.spec, account.plan
    named = {spec.recipe: plan.control.recipe}
    for variant in spec.variants:
        if variant.recipe is not None:
            named.setdefault(variant.recipe, plan.arm(variant.name).recipe)
    return tuple((name, recipe.to_toml()) for name, recipe in named.items() if name.endswith(".toml"))


def _written(value: Any) -> Any:
    """A setting as TOML can have it, which has no null."""
    if isinstance(value, Mapping):
        return {key: _written(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_written(inner) for inner in value]
    return "none" if value is None else value


def command(account: Account) -> str:
    """What makes the study again, in a folder of its own; or a final claim, after its study."""
    if is_final(account):
        variant, seeds = account.plan.arms[1].name, str(account.plan.spec.seeds)
        return shlex.join(["toynet", "final", _study(account), "--variant", variant, "--seeds", seeds])
    return shlex.join(["toynet", "study", f"{account.name}.toml", "--name", f"{account.name}-again"])


def _study(account: Account) -> str:
    """Whose claim it is: the folder around it, for `--name` may have called it otherwise than its file."""
    if account.path is not None:
        return account.path.resolve().parent.name
    return account.plan.spec.name.rpartition("/")[0]


def is_final(account: Account) -> bool:
    """Whether it is a final claim, which follows from another study."""
    spec = account.plan.spec
    return spec.metric == "test_accuracy" and "/final-" in spec.name


def setting_out(account: Account) -> tuple[tuple[str, str], ...]:
    """Seeds, images, machine and versions, as the runs recorded them."""
    entries = list(account.entries.values())
    seeds = sorted({entry.seed for entry in entries})
    machines = Counter(
        f"{entry.machine}, {counted(entry.threads, 'thread')}" for entry in entries if entry.machine
    )
    facts = [
        (
            "Seeds",
            f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else ", ".join(map(str, seeds)) or "none yet",
        ),
        ("Images", f"digest {account.plan.digest[:16]}…; {account.plan.control.recipe.data.name}"),
    ]
    for machine, count in sorted(machines.items()):
        facts.append(("Machine", f"{machine} ({counted(count, 'run')})"))
    versions = _versions(account)
    if versions:
        facts.append(("Versions", versions))
    equal = (
        "The same machine, versions and threads give the same scores; others give scores of the same kind."
    )
    return (*facts, ("To expect", equal))


def _versions(account: Account) -> str:
    """Of the first run that still tells."""
    for key in sorted(account.runs):
        try:
            about = account.runs[key].environment()
        except ToyNetError:
            continue
        return environment_versions(about)
    return ""


def environment_versions(about: dict[str, Any]) -> str:
    """`Python 3.11.7, torch 2.13.0, ...` out of a run's environment.json."""
    packages = about.get("packages") or {}
    shown = [f"Python {about['python']}"] if about.get("python") else []
    shown += [f"{name} {version}" for name, version in packages.items() if version]
    return ", ".join(shown)
