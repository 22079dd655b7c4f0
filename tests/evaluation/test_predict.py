import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from toynet.core.errors import DataError
from toynet.evaluation.predict import evaluating, logits, views
from toynet.evaluation.spec import EvalSpec

MEAN, STD = np.array([120.0, 110.0, 100.0]), np.array([60.0, 50.0, 40.0])


def small_net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(8 * 16, 7),
    )


def pictures(n: int = 13) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)


def ask(model: nn.Module, images: np.ndarray, **knobs: object) -> np.ndarray:
    autocast = knobs.pop("autocast", None)
    return logits(model, images, mean=MEAN, std=STD, spec=EvalSpec(**knobs), device="cpu", autocast=autocast)


def by_hand(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """The same through plain NCHW tensors and NumPy's standardising."""
    standard = ((images.astype(np.float64) - MEAN) / STD).astype(np.float32).transpose(0, 3, 1, 2)
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        return model(torch.from_numpy(np.ascontiguousarray(standard))).numpy()


@pytest.mark.parametrize("batch_size", [1, 4, 13, 500])
def test_logits_agree_with_a_plain_forward_pass(batch_size: int) -> None:
    model, images = small_net(), pictures()
    found = ask(model, images, batch_size=batch_size)
    assert found.shape == (13, 7)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(model, images), atol=1e-5)


def test_read_only_and_strided_images_are_welcome() -> None:
    model, images = small_net(), pictures()
    locked = images.copy()
    locked.flags.writeable = False
    np.testing.assert_array_equal(ask(model, locked), ask(model, images))
    np.testing.assert_allclose(ask(model, images[::-2]), by_hand(model, images[::-2]), atol=1e-5)
    np.testing.assert_array_equal(images, pictures())


def test_flip_averages_the_logits_of_image_and_mirror() -> None:
    model, images = small_net(), pictures()
    expected = (by_hand(model, images) + by_hand(model, images[:, :, ::-1])) / 2
    np.testing.assert_allclose(ask(model, images, tta="flip"), expected, atol=1e-5)
    assert np.abs(expected - by_hand(model, images)).max() > 0.05


def test_shift_averages_six_views_built_with_numpy() -> None:
    model, images = small_net(), pictures()
    seen = []
    for base in (images, images[:, :, ::-1]):
        framed = np.pad(base, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        seen += [base, framed[:, 2:, 2:], framed[:, :-2, :-2]]
    expected = np.mean([by_hand(model, view) for view in seen], axis=0)
    np.testing.assert_allclose(ask(model, images, tta="shift"), expected, atol=1e-5)


def test_shift_moves_content_up_left_and_down_right() -> None:
    dot = torch.zeros(1, 1, 6, 6)
    dot[0, 0, 2, 2] = 1
    places = [tuple(view[0, 0].nonzero()[0].tolist()) for view in views(dot, "shift")]
    assert sorted(places) == sorted([(2, 2), (2, 3), (1, 1), (1, 2), (3, 3), (3, 4)])
    assert all(view.is_contiguous(memory_format=torch.channels_last) for view in views(dot, "shift"))


@pytest.mark.parametrize("tta", ["flip", "shift"])
def test_augmented_logits_do_not_change_when_images_are_mirrored(tta: str) -> None:
    model, images = small_net(), pictures()
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    np.testing.assert_allclose(ask(model, images, tta=tta), ask(model, mirrored, tta=tta), atol=1e-5)


def test_batches_arrive_channels_last() -> None:
    seen: list[bool] = []

    class Probe(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.is_contiguous(memory_format=torch.channels_last) and x.is_inference())
            return x.mean((2, 3))

    ask(Probe(), pictures(), tta="shift", batch_size=5)
    assert seen == [True] * 18


def test_flags_are_restored_one_by_one_even_after_an_error() -> None:
    model = small_net().train()
    model[1].eval()
    before = [module.training for module in model.modules()]
    ask(model, pictures())
    assert [module.training for module in model.modules()] == before
    with pytest.raises(RuntimeError, match="shape"):
        ask(model, pictures()[:, :5])
    assert [module.training for module in model.modules()] == before


def test_nothing_trains_while_evaluating() -> None:
    model = small_net().train()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
        assert torch.is_inference_mode_enabled()
    assert not torch.is_inference_mode_enabled()


def train(model: nn.Module, *, evaluate: bool) -> dict[str, torch.Tensor]:
    """Five gradient steps with dropout and bf16; between them an evaluation, or none."""
    torch.manual_seed(3)
    draws = np.random.default_rng(4)
    model.train()
    for _ in range(5):
        x = torch.from_numpy(draws.standard_normal((16, 3, 8, 8), dtype=np.float32))
        y = torch.randint(0, 7, (16,))
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        with torch.no_grad():
            for weight in model.parameters():
                weight -= 0.1 * weight.grad
        if evaluate:
            for tta in ("none", "shift"):
                ask(model, pictures(), tta=tta, batch_size=6, autocast=torch.bfloat16)
    return model.state_dict()


def test_evaluation_never_changes_training() -> None:
    """Weights and batch-norm statistics are bit-identical with and without evaluations in between."""
    undisturbed, evaluated = (train(small_net(), evaluate=flag) for flag in (False, True))
    assert all(torch.equal(undisturbed[name], evaluated[name]) for name in undisturbed)


def test_no_random_number_is_drawn() -> None:
    model = small_net().train()
    np.random.seed(0)
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    ask(model, pictures(), tta="shift")
    assert torch.equal(torch.get_rng_state(), torch_before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)


def test_autocast_takes_a_dtype_or_a_context_factory() -> None:
    model, images = small_net(), pictures()
    by_dtype = ask(model, images, autocast=torch.bfloat16)
    by_factory = ask(model, images, autocast=lambda: torch.autocast("cpu", dtype=torch.bfloat16))
    exact = ask(model, images)
    np.testing.assert_array_equal(by_dtype, by_factory)
    assert 0 < np.abs(by_dtype - exact).max() < 0.1
    assert by_dtype.dtype == np.float32


def test_a_model_with_bf16_weights_gets_bf16_images() -> None:
    model, images = small_net(), pictures()
    exact = ask(model, images)
    low = ask(model.to(torch.bfloat16), images)
    assert low.dtype == np.float32
    np.testing.assert_allclose(low, exact, atol=0.1)


@pytest.mark.parametrize(
    "images", [pictures()[:0], pictures().astype(np.float32), pictures()[0]], ids=["none", "float", "one"]
)
def test_unfit_images_are_refused_in_one_line(images: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"images must be uint8 \(N, H, W, C\)") as caught:
        ask(small_net(), images)
    assert "\n" not in str(caught.value)


def test_an_unknown_augmentation_is_refused() -> None:
    with pytest.raises(ValueError, match="tta"):
        EvalSpec(tta="rotate")
