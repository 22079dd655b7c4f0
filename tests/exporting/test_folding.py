"""Folded networks against the originals, in float64, where only a mistake can make a difference."""

import pytest
import torch
from torch import nn

from toynet.exporting.folding import fold
from toynet.models.chain import Chain, use_compiled

FOLDED = {
    "pre": (6, 7),
    "pre-conv_bn-dropout": (8, 6),
    "post-pool": (11, 0),
    "relu_bn-flatten": (0, 11),
    "pure_resnet50": (53, 0),
    "speednet": (3, 3),
}
"""Norms folded and kept. In `pre` order a norm behind an addition stays, in `relu_bn` all stand behind a
ReLU, SpeedNet pools before every other one."""


@pytest.mark.parametrize("side", [32, 35])
@pytest.mark.parametrize("name", FOLDED)
def test_folding_changes_nothing(name, side, variant):
    model = variant(name, side).model.double()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = fold(model)
    images = torch.randn(3, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(images)
        folded = found.model(images)
    assert expected.std() > 0.01
    torch.testing.assert_close(folded, expected, rtol=0, atol=1e-9)
    assert (found.folded, found.kept) == FOLDED[name]
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_no_foldable_norm_is_left_and_no_kernel_is_used(variant):
    model = variant("post-pool").model
    use_compiled(model, True)
    found = fold(model).model
    chains = [part for part in found.modules() if isinstance(part, Chain)]
    assert chains
    assert not any(chain.compiled for chain in chains)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in found.modules())
