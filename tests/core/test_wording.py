"""Numbers as a line tells them."""

import pytest

from toynet.core.wording import nats


@pytest.mark.parametrize(
    ("loss", "told"),
    [(0.31274, "0.3127"), (2302.585, "2302.5850"), (1.0319e23, "1.03e+23"), (float("nan"), "nan")],
)
def test_a_loss_that_has_run_away_stays_short(loss: float, told: str):
    assert nats(loss) == told
