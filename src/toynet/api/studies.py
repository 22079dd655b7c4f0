"""The verbs about several runs: study, final, compare."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toynet.core import places
from toynet.core.errors import UsageError, did_you_mean
from toynet.runs.folder import RunFolder, check_name
from toynet.studies import conduct as conduct_room
from toynet.studies import final as final_room
from toynet.studies import gather
from toynet.studies.cluster import Cluster
from toynet.studies.conduct import Audience
from toynet.studies.folder import Account, StudyFolder
from toynet.studies.outlook import Outlook
from toynet.studies.spec import COSTS, StudySpec


def study(
    study: str,
    *,
    tries: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    seeds: int | str | None = None,
    vary_split: bool | None = None,
    jobs: int | None = None,
    cluster: Cluster | None = None,
    name: str | None = None,
    resume: bool = False,
    data: str | None = None,
    root: Path | None = None,
    data_root: Path | None = None,
    audience: Audience | None = None,
) -> Account:
    """Carry out a study, by name or TOML path, in a folder below `root` (`$TOYNET_STUDIES`, else ./studies).

    With `tries`, settings such as {"optim.lr": 5e-4}, `study` is a recipe instead, and each of them a variant
    beside it. `overrides` are settings for every arm. `seeds`, `vary_split` and `data` take the place of the
    file's; with `resume`, those that it was begun with hold. `jobs` runs go on at once, by default one for
    each core, in processes of their own: call it below `if __name__ == "__main__"`; with a `cluster` on its
    nodes, as many as they have room for.
    Raises `ToyNetError` and its kinds.
    """
    spec, path = _asked(study, tries, overrides, seeds, vary_split, name, root, data, resume=resume)
    return conduct_room.conduct(
        spec,
        path,
        jobs=jobs,
        cluster=cluster,
        resume=resume,
        data_root=data_root,
        audience=audience,
    )


def rehearse(
    study: str,
    *,
    tries: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    seeds: int | str | None = None,
    vary_split: bool | None = None,
    jobs: int | None = None,
    cluster: Cluster | None = None,
    name: str | None = None,
    data: str | None = None,
    root: Path | None = None,
    data_root: Path | None = None,
    audience: Audience | None = None,
) -> Outlook:
    """What a study would run, how long it would take, and what it could see. Nothing is run or written."""
    spec, path = _asked(study, tries, overrides, seeds, vary_split, name, root, data)
    return conduct_room.rehearse(
        spec, path, jobs=jobs, cluster=cluster, data_root=data_root, audience=audience
    )


def final(
    study: str | Path,
    variant: str,
    *,
    seeds: int | None = None,
    jobs: int | None = None,
    cluster: Cluster | None = None,
    resume: bool = False,
    root: Path | None = None,
    data_root: Path | None = None,
    audience: Audience | None = None,
) -> Account:
    """One variant of a study and its control once more, with fresh seeds, scored on the test images.

    `seeds`: by default as many as the study gave the variant, 5 at least. The result lies in the study's
    folder, and the look at the test images is written into the ledger beside it. Raises `ToyNetError`.
    """
    root = root or places.studies_folder()
    return final_room.final(
        StudyFolder.open(study, root),
        variant,
        seeds=seeds,
        jobs=jobs,
        cluster=cluster,
        resume=resume,
        ledgers=(places.runs_folder(),),
        data_root=data_root,
        audience=audience,
    )


def compare(
    runs: Sequence[str | Path],
    *,
    margin: float | None = None,
    unequal: Sequence[str] = (),
    root: Path | None = None,
) -> Account:
    """Judge runs that are there already as if they were a study; the first one's recipe is the control.

    Runs whose recipes differ in nothing but the seed are replicates of one arm; arms are compared over the
    seeds that all of them have. `unequal`: costs that may differ.
    Raises `UsageError` for runs that cannot be compared.
    """
    root = root or places.runs_folder()
    for cost in unequal:
        if cost not in COSTS:
            raise UsageError(f"unequal {cost}: {did_you_mean(cost, COSTS)}")
    folders = [RunFolder.open(run, root) for run in runs]
    return gather.gather(folders, margin=margin, unequal=tuple(cost for cost in COSTS if cost in unequal))


def _asked(
    study: str,
    tries: Mapping[str, Any] | None,
    overrides: Mapping[str, Any] | None,
    seeds: int | str | None,
    vary_split: bool | None,
    name: str | None,
    root: Path | None,
    data: str | None,
    *,
    resume: bool = False,
) -> tuple[StudySpec, Path]:
    """What to carry out, and where. What is not said anew is as it was when the study was begun."""
    label = name or (StudySpec.trying(study, tries).name if tries else Path(study).name.removesuffix(".toml"))
    path = (root or places.studies_folder()) / _checked(label, study, name)
    begun = StudyFolder(path)
    if resume and begun.ledger.plans():
        last = begun.plans()[-1].spec
        seeds = last.seeds if seeds is None else seeds
        vary_split = last.vary_split if vary_split is None else vary_split
        data = last.everywhere.get("data.name") if data is None else data
    anew = {"seeds": seeds, "vary_split": vary_split}
    spec = StudySpec.trying(study, tries, anew) if tries else StudySpec.load(study, anew)
    settings = dict(overrides or {}) | ({} if data is None else {"data.name": data})
    return spec.with_settings(settings), path


def _checked(label: str, study: str, name: str | None) -> str:
    try:
        return check_name(label)
    except UsageError:
        hint = "" if name else f"; call it otherwise by --name, since {study} gives none"
        raise UsageError(
            f"study name {label!r}: use letters, digits and . _ + = - only, 120 at most{hint}"
        ) from None
