import numpy as np
import pytest

from toynet.stats import verdicts
from toynet.stats.records import Interval


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.21, 0.5, "helps"),
        (-0.5, -0.21, "hurts"),
        (0.01, 0.5, "helps (size uncertain)"),
        (0.2, 0.5, "helps (size uncertain)"),
        (-0.5, -0.01, "hurts (size uncertain)"),
        (0.05, 0.15, "real but too small to matter"),
        (-0.15, -0.05, "real but too small to matter"),
        (-0.1, 0.2, "no meaningful difference"),
        (0.0, 0.1, "no meaningful difference"),
        (-0.1, 0.21, "undecided"),
        (0.0, 0.5, "undecided"),
        (-np.inf, np.inf, "undecided"),
    ],
)
def test_words_at_a_margin_of_a_fifth(low, high, word):
    assert verdicts.verdict(Interval(low=low, high=high), 0.2) == word


def test_the_margin():
    assert verdicts.margin_for(96) == 0.2
    assert verdicts.margin_for(90) == pytest.approx(0.3)


def test_the_sentence():
    given = {"seeds": 12, "improvement": 0.88}
    assert (
        verdicts.sentence(0.412, Interval(low=0.123, high=0.701), smallest_visible=0.38, **given)
        == "+0.41 pp [+0.12, +0.70], 12 seeds, better in 88 % of pairings; smallest visible effect 0.38."
    )
    fine = verdicts.sentence(0.041, Interval(low=0.001, high=0.081), smallest_visible=0.038, **given)
    assert fine.startswith("+0.041 pp [+0.001, +0.081]")
    endless = verdicts.sentence(0.4, Interval(low=-np.inf, high=np.inf), smallest_visible=np.inf, **given)
    assert endless.endswith("[-inf, +inf], 12 seeds, better in 88 % of pairings; no effect is visible yet.")


def test_what_an_undecided_verdict_asks_for():
    assert verdicts.words("undecided", 9) == "undecided — about 9 more seeds"
    assert verdicts.words("undecided", 1) == "undecided — about 1 more seed"
    assert verdicts.words("undecided", None) == "undecided"
    assert verdicts.words("helps", None) == "helps"
