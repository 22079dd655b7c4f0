"""From a study's choice to a claim: one variant and its control, fresh seeds, test images.

What is chosen among several variants by their scores looks better than it is; fresh seeds and images that no
choice was made on take that back.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from toynet.core.errors import UsageError
from toynet.runs import reads
from toynet.stats import sequential
from toynet.studies import analysis
from toynet.studies.cluster import Cluster
from toynet.studies.conduct import Audience, conduct
from toynet.studies.design import Arm
from toynet.studies.folder import Account, StudyFolder
from toynet.studies.plan import Plan
from toynet.studies.spec import StudySpec, Variant


def final(
    folder: StudyFolder,
    variant: str,
    *,
    seeds: int | None = None,
    jobs: int | None = None,
    cluster: Cluster | None = None,
    resume: bool = False,
    ledgers: Sequence[Path] = (),
    data_root: Path | None = None,
    audience: Audience | None = None,
) -> Account:
    """Train both arms on seeds that the study has not seen, and score each run on the test images once.

    seeds: by default as many as the study gave the variant, 5 at least. The read is written into the ledger
    of the folder that holds the study; those in `ledgers` are counted too. Raises `UsageError` for an arm
    that is not a variant, for a study that has not ended, and for a claim that has been made already.
    """
    account = folder.account()
    _check_ended(account, variant)
    place = folder.final(variant)
    begun = place.ledger.path.exists() or place.has_runs()
    if begun != resume:
        raise UsageError(
            f"the final claim of {variant} is in {place.path} already; go on with it by --resume, or read it "
            f"by toynet report {folder.name}/{place.name}"
            if begun
            else f"there is no final claim of {variant} to go on with; start it without --resume"
        )
    plan, arm = account.plan, account.plan.arm(variant)
    planned = bool(place.ledger.plans())
    spec = place.plans()[-1].spec if planned else _spec(account, place, arm, seeds)
    if planned and seeds not in (None, spec.seeds):
        raise UsageError(f"the final claim of {variant} was begun with {spec.seeds} seeds, and keeps them")
    return conduct(
        spec,
        place.path,
        arms=_arms(plan.arm(arm.against or ""), arm),
        jobs=jobs,
        cluster=cluster,
        resume=resume,
        known_before=partial(_with_test_read, folder, place, plan, ledgers),
        data_root=data_root,
        audience=audience,
    )


def _check_ended(account: Account, variant: str) -> None:
    arm = account.plan.arm(variant)
    if arm.against is None:
        told = ", ".join(one.name for one in account.plan.arms if one.against is not None)
        raise UsageError(f"{variant} is the control of study {account.name}; choose one of {told}")
    findings = account.findings
    early = findings.next_look == analysis.first_look(account.plan.spec)
    endless = analysis.plan_of(account.plan.spec) == "open" and findings.next_look is not None
    running = any(variant in group.running for group in findings.comparisons)
    if not account.entries or early or endless or running:
        raise UsageError(f"study {account.name} has not ended for {variant}; a final claim comes after that")
    unequal = (one.reason for one in findings.withheld if one.arm == variant)
    if reason := next(unequal, None):
        raise UsageError(f"study {account.name} gives no verdict on {variant}, nor would a claim: {reason}")


def _spec(account: Account, place: StudyFolder, arm: Arm, seeds: int | None) -> StudySpec:
    if seeds is not None and seeds < 2:
        raise UsageError(f"seeds: a claim needs two at least, got {seeds}")
    plan = account.plan
    return plan.spec.model_copy(
        update={
            "name": f"{account.name}/{place.name}",
            "question": f"Does {arm.name} help on images that nothing was chosen by?",
            "seeds": seeds
            or max(sequential.FEWEST, len(analysis.scores(plan.spec, arm.name, account.entries))),
            "first_seed": _first_fresh_seed(account),
            "budget": None,
            "metric": "test_accuracy",
            "chain": False,
            "variants": (Variant(name=arm.name, note=arm.note, changes=_changed(arm)),),
            "factors": {},
            "generated": {},
        }
    )


def _first_fresh_seed(account: Account) -> int:
    """Beyond all that the study may still come to; one without an end has come to its own."""
    spec = account.plan.spec
    planned = sequential.LOOKS[-1] if analysis.plan_of(spec) == "auto" else 0
    return max(spec.first_seed + planned, *(seed + 1 for _, seed in account.entries))


def _arms(control: Arm, variant: Arm) -> tuple[Arm, Arm]:
    """Both as they ran in the study, but scored on test."""
    one, other = (arm.recipe.with_changes({"eval.test": True}) for arm in (control, variant))
    changes = tuple(change for change in variant.changes if change.key != "eval.test")
    return (
        Arm(name=control.name, against=None, recipe=one),
        Arm(name=variant.name, against=control.name, recipe=other, note=variant.note, changes=changes),
    )


def _changed(arm: Arm) -> dict[str, object]:
    return {change.key: change.after for change in arm.changes}


def _with_test_read(
    study: StudyFolder, place: StudyFolder, before: Plan, ledgers: Sequence[Path], plan: Plan
) -> Plan:
    """Write one read down, and say how often these test images have been read, as far as ledgers tell."""
    if plan.digest != before.digest:
        raise UsageError(f"the images are not those of study {study.name} any more; bring those back")
    root = study.path.resolve().parent
    reads.log_test_read(root, digest=plan.test_digest, run=f"{study.name}/{place.name}", verb="final")
    every = {
        root,
        *(ledger.resolve() for ledger in ledgers),
        *(path.resolve() for path in root.glob("*/runs")),
    }
    count = sum(reads.count_test_reads(ledger, plan.test_digest) for ledger in every)
    # The runs of a claim read when it was made, which the folder of studies has as one line.
    claims = root.glob("*/final-*/runs")
    count += sum(reads.count_test_reads(ledger, plan.test_digest, but_for="train") for ledger in claims)
    tuning = {name: effort for name, effort in before.tuning.items() if name == plan.arms[1].name}
    return plan.model_copy(update={"test_reads": count, "tuning": tuning})
