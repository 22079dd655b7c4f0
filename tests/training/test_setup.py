import pytest
import torch
from pydantic import ValidationError
from torch import nn

from toynet.models.same import SameConv
from toynet.training import setup as setup_room
from toynet.training.setup import Setup, candidates, fits, in_steps, on_threads, prepare, stated
from toynet.training.spec import TrainSpec

BOTH = ("channels_last", "contiguous")


def names(found: tuple[Setup, ...]) -> list[str]:
    return [setup.name.replace(" kernels", "") for setup in found]


def possible(
    compiled: bool = True,
    precisions: tuple[str, ...] = ("fp32", "bf16"),
    formats: tuple[str, ...] = BOTH,
    **asked: object,
) -> list[str]:
    spec = TrainSpec(**asked)
    return names(candidates(spec, 2, compiled=compiled, precisions=precisions, formats=formats))


def test_everything_possible_is_a_candidate_from_the_plainest_on():
    assert possible() == [
        "fp32, direct, channels_last",
        "fp32, direct, contiguous",
        "bf16, direct, channels_last",
        "bf16, direct, contiguous",
        "bf16, compiled, channels_last",
    ]
    found = candidates(TrainSpec(), 2, compiled=True, precisions=("fp32", "bf16"), formats=BOTH)
    assert list(found) == sorted(found, key=lambda setup: setup.boldness)
    assert {setup.threads for setup in found} == {2}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"precision": "fp32", "memory_format": "contiguous"}, ["fp32, direct, contiguous"]),
        (
            {"precision": "fp32", "kernels": "direct"},
            ["fp32, direct, channels_last", "fp32, direct, contiguous"],
        ),
        ({"precision": "fp32", "kernels": "compiled"}, ["fp32, compiled, channels_last"]),
        ({"kernels": "compiled"}, ["bf16, compiled, channels_last"]),
        (
            {"kernels": "direct", "precision": "bf16", "memory_format": "channels_last"},
            ["bf16, direct, channels_last"],
        ),
    ],
)
def test_what_is_asked_for_is_all_there_is(asked: dict, expected: list[str]):
    assert possible(**asked) == expected
    assert possible(compiled=False, **asked) == expected


def test_compiled_kernels_are_no_candidate_where_there_are_none():
    assert not any("compiled" in name for name in possible(compiled=False))


def test_without_bf16_only_fp32_is_considered():
    assert possible(precisions=("fp32",)) == [
        "fp32, direct, channels_last",
        "fp32, direct, contiguous",
        "fp32, compiled, channels_last",
    ]
    assert possible(precisions=("fp32",), precision="bf16", formats=BOTH[:1]) == [
        "bf16, direct, channels_last",
        "bf16, compiled, channels_last",
    ]


def test_compiled_kernels_take_no_other_order():
    with pytest.raises(ValidationError, match="kernels=compiled needs memory_format=channels_last"):
        TrainSpec(kernels="compiled", memory_format="contiguous")


def test_a_setup_fits_what_leaves_it_open():
    setup = Setup(precision="bf16", kernels="direct", memory_format="channels_last", threads=2)
    assert fits(setup, TrainSpec())
    assert fits(setup, TrainSpec(precision="bf16", threads=2))
    for asked in (
        {"precision": "fp32"},
        {"kernels": "compiled"},
        {"memory_format": "contiguous"},
        {"threads": 1},
    ):
        assert not fits(setup, TrainSpec(**asked))


def test_a_resolved_table_states_a_setup_and_another_does_not():
    asked = {"precision": "bf16", "kernels": "compiled", "memory_format": "channels_last"}
    assert str(stated(TrainSpec(**asked, threads=3))) == "bf16, compiled kernels, channels_last, 3 threads"
    assert stated(TrainSpec(**asked)).threads == torch.get_num_threads()
    for key in asked:
        with pytest.raises(ValueError, match="not been resolved"):
            stated(TrainSpec(**{**asked, key: "auto"}))


def test_a_model_takes_kernels_and_memory_order_and_gives_them_back():
    model = nn.Sequential(SameConv(4, 4), nn.Conv2d(4, 4, 3))
    weights = [layer.weight.detach().clone() for layer in model]
    bold = Setup(precision="bf16", kernels="compiled", memory_format="channels_last", threads=1)
    plain = Setup(precision="fp32", kernels="direct", memory_format="contiguous", threads=1)
    for setup in (bold, plain, bold):
        prepare(model, setup)
        assert model[0].compiled is (setup is bold)
        for layer, weight in zip(model, weights, strict=True):
            assert layer.weight.is_contiguous(memory_format=setup.layout)
            assert torch.equal(layer.weight, weight)


def test_on_a_gpu_steps_are_compiled_by_torch(monkeypatch: pytest.MonkeyPatch):
    """Without a GPU: that the call is made there and nowhere else, and leaves the model itself as it was."""
    bold = Setup(precision="bf16", kernels="compiled", memory_format="channels_last", threads=1)
    made = nn.Identity()
    monkeypatch.setattr(torch, "compile", lambda model, **options: made)
    for gpu in (True, False):
        for setup in (bold, bold.model_copy(update={"kernels": "direct"})):
            monkeypatch.setattr(setup_room, "_on_gpu", lambda model, gpu=gpu: gpu)
            model = nn.Sequential(SameConv(4, 4))
            prepare(model, setup)
            assert model[0].compiled is (setup is bold and not gpu)
            assert in_steps(model, setup) is (made if gpu and setup is bold else model)


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with on_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
