"""The one sentence that a page opens with."""

from toynet.reporting.answer import Judged, Sentence, answer, interactions
from toynet.stats.records import Interval


def judged(name: str, verdict: str, difference: float = 0.0) -> Judged:
    return Judged(name, verdict, difference, Interval(low=difference - 0.5, high=difference + 0.5))


def read(sentence: Sentence) -> str:
    return "".join(piece.text for piece in sentence).replace("\N{NO-BREAK SPACE}", " ")


def test_groups_are_told_in_order_with_the_largest_effect_first():
    told = answer(
        [
            judged("crop", "helps", 1.0),
            judged("shift", "helps", 3.21),
            judged("flip", "hurts", -2.0),
            judged("blur", "undecided", 0.1),
        ],
        "change",
    )
    assert read(told) == (
        "Two of four changes help: shift (+3.21 pp [+2.71, +3.71]) and crop (+1.00 pp [+0.50, +1.50]); "
        "flip hurts (−2.00 pp [−2.50, −1.50]); nothing can be said yet about blur (+0.10 pp [−0.40, +0.60])."
    )
    assert [piece.text for piece in told if piece.name] == ["shift", "crop", "flip", "blur"]


def test_a_single_change_needs_no_count():
    assert read(answer([judged("flip", "hurts", -2)], "change")) == "flip hurts (−2.00 pp [−2.50, −1.50])."


def test_no_verdict_is_claimed_where_there_is_none():
    few = read(answer([judged("flip", "description only", 5)], "change"))
    assert few.startswith("With fewer than five seeds, or without spread, there is no verdict, only a descr")
    assert read(answer([Judged("flip", "")], "change")) == "There is no verdict on flip."
    every = read(answer([judged("a", "undecided"), judged("b", "undecided")], "step"))
    assert every.startswith("Nothing can be said yet about any of the two steps: ")


def test_both_kinds_of_no_difference_are_one_group():
    told = read(
        answer(
            [judged("a", "real but too small to matter"), judged("b", "no meaningful difference")], "change"
        )
    )
    assert told.startswith("Two of two changes make no difference that matters: ")


def test_long_lists_are_cut():
    told = read(answer([judged(f"v{k}", "helps", k) for k in range(9)], "change"))
    assert told.startswith("Nine of nine changes help: v8 (")
    assert told.endswith("and five more.")


def test_factors_that_depend_on_each_other_name_what_they_cannot_be_told_from():
    one = Judged("a × b", "helps", 1.0, Interval(low=0.5, high=1.5), twins="c × d")
    told = read(interactions([one, judged("a × c", "undecided")]))
    assert told == (
        "Together these do more than their effects add up to: "
        "a × b (+1.00 pp [+0.50, +1.50], or it is c × d)."
    )
    assert read(interactions([judged("a × c", "undecided")])) == (
        "No two factors are seen to depend on each other."
    )
    assert interactions([]) == ()


def test_before_the_first_look_it_only_describes():
    told = read(answer([judged("flip", "no verdict yet", 1.0)], "change"))
    assert told.startswith("Before the study has ended there is no verdict, only a description of flip (")
