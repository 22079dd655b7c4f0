"""What a reader of a comparison must know besides its verdicts, as far as scores can tell."""

from collections.abc import Iterator, Mapping, Sequence

from scipy.stats import fisher_exact

from toynet.stats import sequential
from toynet.stats.estimates import Estimate
from toynet.stats.records import ArmScores, Caution, Contrast
from toynet.stats.tables import Table

Found = Mapping[str, Estimate]


def cautions(
    table: Table, found: Found, contrasts: Sequence[Contrast], arms: Sequence[ArmScores], last: int
) -> tuple[Caution, ...]:
    """All that apply, the gravest first. arms: the control first; last: seeds at the last look."""
    return (
        *_failures(table, found, arms),
        *_few_seeds(found),
        *_no_spread(found),
        *_unequal(table, found, arms),
        *_raised(found),
        *_images(contrasts),
        *_unused_seeds(table, found, last),
    )


def _failures(table: Table, found: Found, arms: Sequence[ArmScores]) -> Iterator[Caution]:
    """Counts beside the control's over the same seeds, Fisher's exact test, what becomes of the verdict."""
    for arm in arms[1:]:
        planned, lost = arm.planned, arm.failed
        other = int((~table.finished(table.control, planned)).sum())
        if not lost and not other:
            continue
        p = fisher_exact([[lost, planned - lost], [other, planned - other]]).pvalue
        counts = (
            f"{arm.name}: {lost} of {planned} runs failed, {table.control} {other} (Fisher's exact p {p:.2g})"
        )
        yield Caution(code="failures", text=f"{counts}; {_in_spite_of_failures(found.get(arm.name))}")


def _in_spite_of_failures(estimate: Estimate | None) -> str:
    if estimate is None:
        return "fewer than two blocks were finished by both, so there is nothing to compare"
    blocks = f"compared over the {estimate.seeds} blocks that both finished"
    if estimate.capped:
        return f"{blocks}; without a verdict, since none is known to survive scoring failures as chance"
    return f"{blocks}; the verdict survives scoring failures as chance" if estimate.settled else blocks


def _few_seeds(found: Found) -> Iterator[Caution]:
    few = [f"{name} has {e.seeds}" for name, e in found.items() if e.seeds < sequential.FEWEST]
    if few:
        text = f"a verdict needs {sequential.FEWEST} seeds ({', '.join(few)}): description only"
        yield Caution(code="few-seeds", text=text)


def _no_spread(found: Found) -> Iterator[Caution]:
    for name, estimate in found.items():
        if estimate.still:
            same = "the same scores as the control" if estimate.difference == 0 else "the same difference"
            text = f"{name} has {same} in every seed: the change may do nothing, or scores are rounded"
            yield Caution(code="no-spread", text=text)


def _unequal(table: Table, found: Found, arms: Sequence[ArmScores]) -> Iterator[Caution]:
    """Where `contrasts.fit` chose not to pool; pairs with failed runs are alone for another reason."""
    alone = [name for name, estimate in found.items() if estimate.unequal]
    if alone:
        sigma = [f"{arm.name} {arm.sigma:.2f}" for arm in arms if arm.name in (table.control, *alone)]
        text = f"arms differ in spread ({', '.join(sigma)} pp), so each pair is judged by its own"
        yield Caution(code="unequal-variance", text=text)


def _raised(found: Found) -> Iterator[Caution]:
    raised = [name for name, estimate in found.items() if estimate.raised]
    if raised:
        text = (
            f"{', '.join(raised)}: seeds agree better than luck with this many images allows; "
            "the intervals are widened to that"
        )
        yield Caution(code="raised-to-floor", text=text)


def _images(contrasts: Sequence[Contrast]) -> Iterator[Caution]:
    dominated = [c.variant for c in contrasts if c.image_error is not None and c.image_error > c.error]
    if dominated:
        text = (
            f"{', '.join(dominated)}: for new images, most of the uncertainty comes from the choice of "
            "images; more seeds will not shrink it"
        )
        yield Caution(code="image-error", text=text)


def _unused_seeds(table: Table, found: Found, last: int) -> Iterator[Caution]:
    looks = {arm: found[arm].look if arm in found else last for arm in table.arms}
    unused = [f"{arm} from {look}" for arm, look in looks.items() if len(table.scores[arm]) > look]
    if unused:
        text = f"seeds beyond an arm's last look do not count ({', '.join(unused)})"
        yield Caution(code="unused-seeds", text=text)
