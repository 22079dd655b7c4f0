import numpy as np
import pytest
from pandas import DataFrame
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests

from toynet.core.errors import UsageError
from toynet.stats import factorial
from toynet.studies import factors


def runs(seeds=5, names=("a", "b", "c"), generated=None, effects=None, sigma=0.2):
    """A whole design on every seed, with planted main effects."""
    switches = factorial.design(names, generated)
    size, rng = len(next(iter(switches.values()))), np.random.default_rng(0)
    tiled = {factor: np.tile(column, seeds) for factor, column in switches.items()}
    blocks = np.repeat(np.arange(seeds), size)
    scores = 90 + rng.standard_normal(seeds)[blocks] + sigma * rng.standard_normal(len(blocks))
    for factor, effect in (effects or {}).items():
        scores = scores + effect * tiled[factor]
    return scores, tiled, blocks


def test_it_is_statsmodels_analysis_of_variance():
    scores, switches, blocks = runs(effects={"b": 0.3})
    found = factorial.analyse(scores, switches, seeds=blocks)
    frame = DataFrame({"acc": scores, "seed": blocks} | {f: c.astype(int) for f, c in switches.items()})
    fitted = ols("acc ~ C(seed) + (C(a) + C(b) + C(c)) ** 2", data=frame).fit()
    table = anova_lm(fitted, typ=2)
    names = ["a", "b", "c", "a x b", "a x c", "b x c"]
    rows = ["C(a)", "C(b)", "C(c)", "C(a):C(b)", "C(a):C(c)", "C(b):C(c)"]
    np.testing.assert_allclose([found[n].f for n in names], table.loc[rows, "F"], rtol=1e-9)
    adjusted = multipletests(table.loc[rows, "PR(>F)"], method="holm")[1]
    np.testing.assert_allclose([found[n].p for n in names], adjusted, rtol=1e-9)
    assert found.sigma**2 == pytest.approx(fitted.mse_resid, rel=1e-9)
    assert found.df == fitted.df_resid


def test_every_effect_uses_all_runs():
    scores, switches, blocks = runs(effects={"a": 1.0})
    found = factorial.analyse(scores, switches, seeds=blocks)
    for effect in found.effects:
        assert effect.error == pytest.approx(2 * found.sigma / np.sqrt(len(scores)), rel=1e-9)
    on, off = scores[switches["a"]].mean(), scores[~switches["a"]].mean()
    assert found["a"].effect == pytest.approx(on - off, abs=1e-9)
    assert found["a"].interval.low > 0


def test_a_half_of_16_combinations_names_what_it_cannot_tell_apart():
    switches = factorial.design(("a", "b", "c"), {"d": ("a", "b", "c")})
    assert len(switches["d"]) == 8
    assert not any(column[0] for column in switches.values())  # the control
    assert factorial.aliases(switches) == {
        "a": (), "b": (), "c": (), "d": (), "a x b": ("c x d",), "a x c": ("b x d",), "a x d": ("b x c",)
    }  # fmt: skip
    assert factorial.aliases(factorial.design(("a", "b"), {"c": ("a", "b")})) == {
        "a": ("-b x c",), "b": ("-a x c",), "c": ("-a x b",)
    }  # fmt: skip


def test_the_order_of_runs_does_not_matter():
    scores, switches, blocks = runs(generated={"d": ("a", "b", "c")})
    order = np.random.default_rng(1).permutation(len(scores))
    plain = factorial.analyse(scores, switches, seeds=blocks)
    mixed = factorial.analyse(scores[order], {f: c[order] for f, c in switches.items()}, seeds=blocks[order])
    for one, other in zip(plain.effects, mixed.effects, strict=True):
        assert one.name == other.name
        assert other.effect == pytest.approx(one.effect, abs=1e-9)


@pytest.mark.parametrize("effect", [0.0, 0.5])
def test_effects_without_any_spread_prove_nothing(effect):
    scores, switches, blocks = runs(effects={"a": effect}, sigma=0.0)
    found = factorial.analyse(scores, switches, seeds=blocks)
    assert found["a"].effect == pytest.approx(effect, abs=1e-9)
    assert found.sigma == 0
    for one in found.effects:
        assert (one.error, one.p, one.f) == (0, 1, 0)
        assert factors.verdict(one, margin=0.1, blocks=found.blocks) == "description only"


def test_refusals():
    scores, switches, blocks = runs()
    with pytest.raises(UsageError, match="finite scores"):
        factorial.analyse([*scores[:-1], np.nan], switches, seeds=blocks)
    with pytest.raises(UsageError, match="cannot tell"):
        factorial.analyse(scores[:8], {f: c[:8] for f, c in switches.items()}, seeds=np.arange(8))
    with pytest.raises(UsageError, match="on in every run"):
        factorial.analyse(scores, switches | {"a": np.ones(len(scores), bool)}, seeds=blocks)
    with pytest.raises(UsageError, match="did you mean"):
        factorial.analyse(scores, switches, seeds=blocks)["a x  b"]
    with pytest.raises(UsageError, match="generate"):
        factorial.design(("a", "b"), {"b": ("a", "b")})
