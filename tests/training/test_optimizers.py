"""Ten steps of each optimiser against Keras' (or, for Muon, torch's) on the same gradients."""

import copy
import math
from collections import OrderedDict

import keras
import numpy as np
import pytest
import torch
from torch import nn

from toynet.training import optimizers
from toynet.training.spec import OptimSpec

GENERATOR = np.random.default_rng(0)
KERNEL = GENERATOR.normal(size=(6, 4)).astype(np.float32)
BIAS = GENERATOR.normal(size=6).astype(np.float32)
# Gradients from 1e-6 up to 1 in size: where epsilon is placed shows in the small ones.
GRADIENTS = [
    (
        GENERATOR.normal(size=(6, 4)).astype(np.float32) * 10.0 ** GENERATOR.uniform(-6, 0),
        GENERATOR.normal(size=6).astype(np.float32),
    )
    for _ in range(10)
]


def ours(spec: OptimSpec) -> tuple[np.ndarray, np.ndarray]:
    layer = nn.Linear(4, 6)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(KERNEL))
        layer.bias.copy_(torch.from_numpy(BIAS))
    moving = optimizers.build(layer, spec)
    for kernel, bias in GRADIENTS:
        layer.weight.grad, layer.bias.grad = torch.from_numpy(kernel), torch.from_numpy(bias)
        for optimizer in moving:
            optimizer.step()
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def theirs(optimizer) -> tuple[np.ndarray, np.ndarray]:
    kernel, bias = keras.Variable(KERNEL), keras.Variable(BIAS, name="bias")
    optimizer.build([kernel, bias])
    for gradients in GRADIENTS:
        optimizer.apply([torch.from_numpy(g) for g in gradients], [kernel, bias])
    return keras.ops.convert_to_numpy(kernel), keras.ops.convert_to_numpy(bias)


def agree(spec: OptimSpec, optimizer) -> None:
    for mine, reference in zip(ours(spec), theirs(optimizer), strict=True):
        assert np.abs(mine - reference).max() < 2e-6


def test_adam_is_keras_with_its_epsilon():
    agree(OptimSpec(name="adam", lr=1e-2), keras.optimizers.Adam(1e-2, epsilon=1e-7))
    agree(OptimSpec(name="adam", lr=1e-2, eps=1e-3), keras.optimizers.Adam(1e-2, epsilon=1e-3))


def test_torchs_adam_would_not_pass():
    layer = nn.Parameter(torch.from_numpy(KERNEL.copy()))
    plain = torch.optim.Adam([layer], lr=1e-2, eps=1e-3)
    for kernel, _ in GRADIENTS:
        layer.grad = torch.from_numpy(kernel)
        plain.step()
    reference = theirs(keras.optimizers.Adam(1e-2, epsilon=1e-3))[0]
    assert np.abs(layer.detach().numpy() - reference).max() > 1e-3


def test_adamw_decays_kernels_and_spares_biases():
    reference = keras.optimizers.AdamW(1e-2, weight_decay=0.1, epsilon=1e-7)
    reference.exclude_from_weight_decay(var_names=["bias"])
    agree(OptimSpec(name="adamw", lr=1e-2, weight_decay=0.1), reference)


@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_is_keras(nesterov: bool):
    spec = OptimSpec(name="sgd", lr=1e-2, momentum=0.9, nesterov=nesterov)
    agree(spec, keras.optimizers.SGD(1e-2, momentum=0.9, nesterov=nesterov))


@pytest.mark.parametrize("steps", [3, 5])
@pytest.mark.parametrize("shape", [(16, 8), (8, 16), (8, 3, 3, 3)])
def test_muon_is_torchs_on_the_flattened_kernel(shape: tuple[int, ...], steps: int, monkeypatch):
    monkeypatch.setattr(optimizers, "coarse", lambda _: torch.bfloat16)  # which torch's own always takes
    start = torch.from_numpy(GENERATOR.normal(size=shape).astype(np.float32))
    gradients = [torch.from_numpy(GENERATOR.normal(size=shape).astype(np.float32)) for _ in range(10)]
    mine, matrix = nn.Parameter(start.clone()), nn.Parameter(start.flatten(1).clone())
    muon = optimizers.Muon([mine], 0.02, 0.9, nesterov=True, weight_decay=0.1, ns_steps=steps)
    torchs = torch.optim.Muon(
        [matrix], lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.1, ns_steps=steps
    )
    for gradient in gradients:
        mine.grad, matrix.grad = gradient, gradient.flatten(1)
        muon.step()
        torchs.step()
    assert torch.allclose(mine.flatten(1), matrix, atol=1e-5)


@pytest.mark.parametrize(("numbers", "most"), [(torch.bfloat16, 0.25), (torch.float32, 1e-3)], ids=str)
@pytest.mark.parametrize("shape", [(24, 36), (24, 200), (200, 24), (512, 4608)], ids=str)
@pytest.mark.parametrize("steps", [1, 5])
def test_iterations_act_on_singular_values_alone(numbers, most: float, shape, steps: int, monkeypatch):
    """Of a matrix as updates are: its values fall to a ten-thousandth of the largest."""
    monkeypatch.setattr(optimizers, "coarse", lambda _: numbers)
    rows, _, columns = np.linalg.svd(GENERATOR.normal(size=shape), full_matrices=False)
    values = np.geomspace(1, 1e-4, min(shape))
    found = optimizers.orthogonalise(torch.from_numpy((rows * values) @ columns).float(), steps)
    values /= np.linalg.norm(values)
    for _ in range(steps):
        values = 3.4445 * values - 4.775 * values**3 + 2.0315 * values**5
    exact = (rows * values) @ columns
    assert found.dtype == torch.float32
    assert np.linalg.norm(found.double().numpy() - exact) < most * np.linalg.norm(exact)


def test_muon_takes_hidden_convolutions_and_adam_the_rest():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4, 2)
    )
    muon, adam = optimizers.build(model, OptimSpec(name="muon", lr=0.02, aux_lr=0.003, ns_steps=3))
    assert muon.defaults["ns_steps"] == 3
    assert [p is model[2].weight for p in muon.param_groups[0]["params"]] == [True]
    moved = sum(len(group["params"]) for optimizer in (muon, adam) for group in optimizer.param_groups)
    assert moved == len(list(model.parameters()))
    optimizers.set_rate((muon, adam), lambda step: 0.5, 0)
    optimizers.set_rate((muon, adam), lambda step: 0.5, 0, 0.5)
    assert muon.param_groups[0]["lr"] == pytest.approx(0.005)
    assert adam.param_groups[0]["lr"] == pytest.approx(0.00075)


def test_sgd_may_take_the_rest_at_two_rates():
    spec = OptimSpec(name="muon", aux="sgd", aux_lr=0.1, aux_bias_lr=4.0, aux_momentum=0.8, aux_decay=0.02)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2))
    twin = copy.deepcopy(model)
    _, ours = optimizers.build(model, spec)
    for named, lr in (
        ("0.weight", 0.1),
        ("3.weight", 0.1),
        ("0.bias", 4.0),
        ("2.bias", 4.0),
        ("2.weight", 4.0),
    ):
        weight, other = model.get_parameter(named), twin.get_parameter(named)
        buffer = torch.zeros_like(other)
        for step in range(3):
            weight.grad = torch.full_like(weight, 0.3 + step)
            gradient = weight.grad + 0.02 / lr * other.detach()
            buffer = 0.8 * buffer + gradient
            other.data -= lr * (gradient + 0.8 * buffer)
            ours.step()
            weight.grad = None
        torch.testing.assert_close(weight, other)
    assert torch.equal(model[1].weight, twin[1].weight)  # Muon's


def test_unit_rows_make_the_rate_a_relative_one():
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(8, 4, 3, 3))
    direction = weight.detach().flatten(1) / weight.detach().norm() * math.sqrt(8)
    muon = optimizers.Muon([weight], 0.1, 0.0, nesterov=False, weight_decay=0.0, unit_rows=True)
    weight.grad = torch.randn_like(weight)
    muon.step()
    expected = direction - 0.1 * optimizers.orthogonalise(weight.grad.flatten(1), 5)
    torch.testing.assert_close(weight.detach().flatten(1), expected)


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_the_order_in_memory_changes_rounding_at_most(name: str):
    """Weights in channels-last order are taken as they lie."""
    found = []
    for order in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        weight = nn.Parameter(torch.randn(12, 8, 3, 3).to(memory_format=order))
        if name == "adam":
            optimizer = optimizers.KerasAdam([weight], keras_eps=1e-7, lr=0.1)
        else:
            optimizer = optimizers.Muon([weight], 0.1, 0.9, nesterov=True, weight_decay=0.01, unit_rows=True)
        for _ in range(3):
            weight.grad = torch.randn(12, 8, 3, 3).to(memory_format=order)
            optimizer.step()
        assert weight.is_contiguous(memory_format=order)
        found.append(weight.detach())
    if name == "adam":
        assert torch.equal(*found)
    else:
        torch.testing.assert_close(*found, rtol=0, atol=2e-3)


@pytest.mark.parametrize("gradients", [torch.contiguous_format, torch.channels_last])
def test_adam_takes_what_lies_in_channels_last_order_without_a_copy(gradients: torch.memory_format):
    weight = nn.Parameter(torch.randn(12, 8, 3, 3).to(memory_format=torch.channels_last))
    weight.grad = torch.randn(12, 8, 3, 3).to(memory_format=gradients)
    optimizer = optimizers.KerasAdam([weight], keras_eps=1e-7, lr=0.1)
    lists = [[] for _ in range(6)]
    optimizer._init_group(optimizer.param_groups[0], *lists)
    taken = [one for (one,) in lists[:4]]
    assert all(one.is_contiguous() for one in taken) == (gradients is torch.channels_last)
    assert taken[0].data_ptr() == weight.data_ptr()


def test_adams_epsilon_follows_the_weights_that_still_move():
    frozen, moving = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    alone = nn.Parameter(torch.ones(3))
    pair = optimizers.KerasAdam([frozen, moving], lr=0.1, betas=(0.9, 0.999), keras_eps=1e-2)
    single = optimizers.KerasAdam([alone], lr=0.1, betas=(0.9, 0.999), keras_eps=1e-2)
    for step in range(4):
        frozen.grad = torch.full((3,), 0.3) if step == 0 else None
        moving.grad, alone.grad = torch.full((3,), 0.3), torch.full((3,), 0.3)
        pair.step()
        single.step()
    assert torch.equal(moving, alone)


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_a_part_that_stops_goes_through_the_whole_schedule_before(name: str):
    model = nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(3, 4, 1), early=nn.Conv2d(4, 4, 1), late=nn.Conv2d(4, 4, 1), head=nn.Linear(4, 2)
        )
    )
    found = optimizers.build(model, OptimSpec(name=name, lr=1.0, aux_lr=1.0), {"early": 0.5, "stem": 0.25})
    rates = {}
    for step in (0, 10, 20, 40):
        optimizers.set_rate(found, lambda at: max(0.0, 1 - at / 80), step)
        for optimizer in found:
            for group in optimizer.param_groups:
                for weight in group["params"]:
                    rates.setdefault(id(weight), []).append(group["lr"])
    by_part = {
        part: {tuple(rates[id(p)]) for p in layer.parameters()} for part, layer in model.named_children()
    }
    whole = {(1.0, 0.875, 0.75, 0.5)}
    assert by_part["late"] == by_part["head"] == whole
    assert by_part["early"] == {(1.0, 0.75, 0.5, 0.0)}
    assert by_part["stem"] == {(1.0, 0.5, 0.0, 0.0)}
