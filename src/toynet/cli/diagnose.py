"""`toynet diagnose`"""

import shlex

from toynet.cli import options

_NO_STUDY = ("train.epochs", "data.protocol")
"""Settings that a study cannot compare as they are: it would be one of unequal budgets or of other images."""

EXAMPLE = "Example:  toynet diagnose my-run"


def diagnose(run: options.RunName, json: options.Json = False) -> None:
    """Read a run's curves as the report's authors did: what stands out, and the one change to try next."""
    import toynet

    opened = toynet.open_run(run)
    findings, recipe = toynet.diagnose(opened), opened.folder.recipe()
    diverged = opened.result is not None and opened.result.status == "diverged"
    alone = diverged or recipe.data.protocol == "full"
    if json:
        from json import dumps

        print(dumps([finding.model_dump() for finding in findings], indent=2))
        return
    for number, finding in enumerate(findings, start=1):
        print(f"{number}. {finding.title} ({finding.severity})")
        print(f"   {finding.evidence}")
        print(f"   {finding.why}")
        for key, value in finding.change.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            source, change = shlex.quote(str(opened.path / "recipe.toml")), shlex.quote(f"{key}={text}")
            if alone or key in _NO_STUDY:
                print(f"   try: toynet train {source} --set {change} --seed {recipe.train.seed}")
            else:
                print(f"   try: toynet study {source} --try {change}")
        print()
