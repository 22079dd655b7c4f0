import torch
from torch import nn

from toynet.training.averages import WeightAverage


def test_the_average_follows_its_formula_and_includes_batch_norm():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average = WeightAverage(model, 0.9)
    expected = {n: v.clone() for n, v in model.state_dict().items() if v.is_floating_point()}
    for step in range(1, 30):
        with torch.no_grad():
            for value in model.state_dict().values():
                if value.is_floating_point():
                    value.add_(torch.randn_like(value))
        average.update(model, step)
        decay = min(0.9, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if name in expected:
                expected[name] = decay * expected[name] + (1 - decay) * value
    assert expected.keys() == {"0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"}
    for name, value in expected.items():
        assert torch.allclose(average.tensors[name], value, atol=1e-5)


def test_swapping_in_gives_the_weights_back():
    model = nn.Linear(2, 2)
    average = WeightAverage(model, 0.5)
    with torch.no_grad():
        model.weight.add_(1)
    moved = model.weight.detach().clone()
    with average.swapped_into(model):
        assert torch.equal(model.weight, average.tensors["weight"])
        assert not torch.equal(model.weight, moved)
    assert torch.equal(model.weight, moved)
