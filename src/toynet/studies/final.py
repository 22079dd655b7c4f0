"""From a study's choice to a claim: one variant and its control, fresh seeds, test images.

What is chosen among several variants by their scores looks better than it is; fresh seeds and images that no
choice was made on take that back.
"""

from collections.abc import Sequence
from pathlib import Path

from toynet.core.errors import UsageError
from toynet.runs import reads
from toynet.stats.sequential import FEWEST
from toynet.studies import analysis, design
from toynet.studies.conduct import Audience, conduct
from toynet.studies.design import Arm
from toynet.studies.folder import Account, StudyFolder
from toynet.studies.spec import Variant


def final(
    folder: StudyFolder,
    variant: str,
    *,
    seeds: int | None = None,
    jobs: int | None = None,
    resume: bool = False,
    ledgers: Sequence[Path],
    data_root: Path | None = None,
    audience: Audience | None = None,
) -> Account:
    """Train both arms on seeds that the study has not seen, and score each run on the test images once.

    seeds: by default as many as the study gave the variant, 5 at least. ledgers: folders whose ledgers tell
    of reads of test images; this one is written into the first. Raises `UsageError` for an arm that is not a
    variant, for a study without runs, and for a claim that has been made already.
    """
    account = folder.account()
    plan, arm = account.plan, account.plan.arm(variant)
    if arm.against is None:
        told = ", ".join(one.name for one in plan.arms if one.against is not None)
        raise UsageError(f"{variant} is the control of study {folder.name}; choose one of {told}")
    if not account.entries:
        raise UsageError(f"study {folder.name} has not run yet; a final claim comes after it")
    place = folder.final(variant)
    used = [seed for _, seed in account.entries]
    spec = plan.spec.model_copy(
        update={
            "name": f"{plan.spec.name}/{place.name}",
            "question": f"Does {variant} help on images that nothing was chosen by?",
            "seeds": seeds or max(FEWEST, len(analysis.scores(plan.spec, variant, account.entries))),
            "first_seed": max(used) + 1,
            "metric": "test_accuracy",
            "chain": False,
            "variants": (Variant(name=variant, note=arm.note, changes=_changed(arm)),),
            "factors": {},
            "generated": {},
        }
    )
    arms = _arms(plan.arm(arm.against), arm)
    begun = place.ledger.path.exists()
    if not begun and resume:
        raise UsageError(f"there is no final claim of {variant} to go on with; start it without --resume")
    if begun and not resume:
        raise UsageError(
            f"the final claim of {variant} is in {place.path} already; go on with it by --resume, or "
            f"read it by toynet report {folder.name}/{place.name}"
        )
    count = 0
    if not begun:
        name = f"{folder.name}/{place.name}"
        reads.log_test_read(ledgers[0], digest=plan.test_digest, run=name, verb="final")
        count = sum(reads.count_test_reads(ledger, plan.test_digest) for ledger in ledgers)
    return conduct(
        spec,
        place.path,
        arms=arms,
        jobs=jobs,
        resume=resume,
        test_reads=count,
        data_root=data_root,
        audience=audience,
    )


def _arms(control: Arm, variant: Arm) -> tuple[Arm, Arm]:
    """Both as they ran in the study, but scored on test."""
    one, other = (arm.recipe.with_changes({"eval.test": True}) for arm in (control, variant))
    changes = design.differences(one, other)
    return (
        Arm(name=control.name, against=None, recipe=one),
        Arm(name=variant.name, against=control.name, recipe=other, note=variant.note, changes=changes),
    )


def _changed(arm: Arm) -> dict[str, object]:
    return {change.key: change.after for change in arm.changes}
