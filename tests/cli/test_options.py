"""Options that several verbs share, as what they mean."""

import pytest

from toynet.cli import options
from toynet.core.errors import UsageError


@pytest.mark.parametrize(
    ("given", "option"),
    [
        (("10.0.0.1:6379", None, None), "--address"),
        ((None, 2, None), "--cpus-per-run"),
        ((None, None, 0.0), "--gpus-per-run"),
    ],
)
def test_what_is_for_a_cluster_is_refused_without_one(given: tuple, option: str):
    with pytest.raises(UsageError, match=f"{option} is for --engine ray; add that, or leave it out"):
        options.cluster("local", *given)


def test_a_cluster_is_what_was_asked_for(monkeypatch: pytest.MonkeyPatch):
    assert options.cluster("local", None, None, None) is None
    found = options.cluster("ray", "10.0.0.1:6379", 4, 0.5)
    assert (found.address, found.cpus_per_run, found.gpus_per_run, found.show_logs) == (
        "10.0.0.1:6379",
        4,
        0.5,
        False,
    )
    monkeypatch.setattr("sys.argv", ["toynet", "--debug", "study", "x"])
    assert options.cluster("ray", None, None, None).show_logs
