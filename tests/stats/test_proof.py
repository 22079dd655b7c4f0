"""Are the verdicts right as often as they say? The short form of `make proof-stats`."""

import invented_studies
import pytest
from proof_bounds import Check, prove


def test_a_few_hundred_studies():
    """4.5 standard errors: of 75 bounds that just hold, one in 4,000 runs would miss by more. The streams are
    fixed, so that it is the code that fails."""
    proof = prove(null_studies=200, studies=100)
    wrong = [f"{bound.what}: {bound.measured}" for bound in proof.checks if bound.misses() > 4.5]
    assert not wrong
    for chain in proof.chains:
        assert chain.without_family > chain.false_positives


def test_a_miss_is_counted_in_standard_errors():
    given = {"what": "", "studies": 10_000, "low": 0.04, "high": 0.05}
    assert Check(measured=0.045, **given).misses() == 0
    assert Check(measured=0.06, **given).misses() == pytest.approx(0.01 / 0.0021794, rel=1e-4)
    assert not Check(measured=0.06, **given).holds


@pytest.mark.slow
def test_the_long_form():
    proof = prove(invented_studies.NULL_STUDIES, invented_studies.STUDIES)
    assert [bound.what for bound in proof.checks if not bound.holds] == []
