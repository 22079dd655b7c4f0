"""The verb that reads a run's curves."""

from pathlib import Path

from toynet.api.run import Run, open_run
from toynet.core.errors import ToyNetError
from toynet.evaluation.findings import Finding
from toynet.reporting import readings


def diagnose(run: str | Path | Run, *, root: Path | None = None) -> list[Finding]:
    """What the run's curves, classes and activations say, each with its numbers and one change to try."""
    opened = open_run(run, root=root)
    folder, records = opened.folder, opened.folder.metrics()
    diverged = opened.result is not None and opened.result.status == "diverged"
    if not records and not diverged:
        raise ToyNetError(f"run {folder.name} has not finished an epoch yet; there is nothing to read")
    # Advice must not be drawn from test images, so the classes are judged on validation only.
    return readings.findings(folder, records, readings.class_scores(folder, "val"))
