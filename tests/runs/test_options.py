"""The set-ups that a recipe leaves to choose from, on machines of every kind."""

import pytest
import torch
from tiny_recipe import CARD, recipe

from toynet.core.errors import UsageError
from toynet.runs import setups, subject
from toynet.training import loop, losses
from toynet.training.setup import Setup, prepare

BOTH = ("fp32", "bf16")


def options(**changes: object) -> tuple[Setup, ...]:
    return setups.options(recipe(**changes), CARD, 1)


@pytest.fixture(autouse=True, params=[BOTH, ("fp32",)], ids="-".join)
def promising(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """As on processors with instructions for bf16, and without."""
    monkeypatch.setattr(setups.precision, "promising", lambda device: request.param)
    return request.param


def test_a_precision_without_promise_is_left_out_unless_it_is_asked_for(
    promising: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(setups.build, "obstacle", lambda numbers: None)
    assert {one.precision for one in options()} == set(promising)
    assert {one.precision for one in options() if one.kernels == "compiled"} == {promising[-1]}
    assert {one.precision for one in options(**{"train.kernels": "compiled"})} == {promising[-1]}
    for asked in BOTH:
        found = options(**{"train.precision": asked})
        assert {(one.precision, one.kernels) for one in found} == {(asked, "direct"), (asked, "compiled")}


@pytest.mark.parametrize("kernels", ["auto", "compiled", "direct"])
def test_kernels_are_begun_for_the_numbers_that_are_asked_for(
    promising: tuple[str, ...], kernels: str, monkeypatch: pytest.MonkeyPatch
):
    begun: list[torch.dtype] = []
    monkeypatch.setattr(setups.build, "begin", begun.append)
    for asked in (promising[-1], *BOTH):
        setups.begin_kernels(recipe(**{"train.precision": asked, "train.kernels": kernels}))
    setups.begin_kernels(recipe(**{"train.kernels": kernels}))
    wanted = [promising[-1], *BOTH, promising[-1]] if kernels != "direct" else []
    assert begun == [setups.precision.DTYPES[numbers] for numbers in wanted]


def test_dropout_of_maps_keeps_its_memory_order_and_its_draws():
    assert {s.memory_format for s in options()} == {"channels_last", "contiguous"}
    drawing = {"model.conv_dropout": 0.1}
    assert {s.memory_format for s in options(**drawing)} == {"channels_last"}
    asked = {**drawing, "train.memory_format": "contiguous"}
    assert {s.memory_format for s in options(**asked)} == {"contiguous"}


@pytest.mark.parametrize("dropout", ["model.dropout", "model.conv_dropout"])
def test_whatever_is_chosen_the_same_is_computed_but_for_rounding(dropout: str, promising: tuple[str, ...]):
    wanted = recipe(**{dropout: 0.5, "model.widths": [8, 16, 16, 32]})
    model, loss = subject.build_model(wanted, CARD), losses.build(wanted.loss)
    torch.manual_seed(0)
    images, labels = torch.randn(40, 3, 32, 32), torch.arange(40) % 10

    def value(one: Setup) -> float:
        prepare(model, one)
        torch.manual_seed(7)
        return loop.forward_backward(model, loss, images, labels, one, None)[0]

    allowed = setups.options(wanted, CARD, 1)
    plainest = allowed[0]
    assert plainest.name == "fp32, direct kernels, channels_last"
    plain = value(plainest)
    orders = 2 if dropout == "model.dropout" else 1
    assert len(allowed) == orders * len(promising) + 1
    for one in allowed:
        assert value(one) == pytest.approx(plain, rel=1e-5 if one.precision == "fp32" else 2e-3), one
    if dropout == "model.conv_dropout":
        other = plainest.model_copy(update={"memory_format": "contiguous"})
        assert value(other) != pytest.approx(plain, rel=2e-3)


def test_compiled_kernels_are_considered_only_where_they_can_be_had(
    promising: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    def kernels(**changes: object) -> set[str]:
        return {s.kernels for s in options(**changes)}

    monkeypatch.setattr(setups.build, "obstacle", lambda numbers: None)
    assert kernels() == {"direct", "compiled"}
    monkeypatch.setattr(setups.build, "obstacle", {torch.bfloat16: "no C compiler"}.get)
    assert kernels() == ({"direct", "compiled"} if promising == ("fp32",) else {"direct"})
    assert kernels(**{"train.precision": "fp32"}) == {"direct", "compiled"}
    assert kernels(**{"train.precision": "bf16"}) == {"direct"}
    monkeypatch.setattr(setups.build, "obstacle", lambda numbers: "no C compiler")
    monkeypatch.setattr(setups.precision, "device", lambda: "mps")
    assert kernels() == {"direct"}
    monkeypatch.setattr(setups.precision, "device", lambda: "cuda")
    for triton in (True, None):
        monkeypatch.setattr(setups, "find_spec", lambda name, found=triton: found)
        assert kernels() == ({"direct", "compiled"} if triton else {"direct"})
    monkeypatch.setattr(setups.precision, "device", lambda: "cpu")
    monkeypatch.setattr(setups.build, "obstacle", lambda numbers: "no C compiler")
    assert kernels() == {"direct"}
    with pytest.raises(
        UsageError, match=r"train\.kernels=compiled cannot be had: no C compiler; set it to auto"
    ):
        options(**{"train.kernels": "compiled"})
