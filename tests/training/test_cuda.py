"""On a GPU: the same results as on the processor, and the same bits again. Skipped where there is none."""

import copy
import signal
from pathlib import Path

import pytest
import torch

import toynet
from toynet.core.errors import Interrupted
from toynet.core.reporter import Silent
from toynet.models import catalog
from toynet.models.spec import ModelSpec
from toynet.training import loop, losses, mapped
from toynet.training.checkpoints import load_latest
from toynet.training.freezing import freeze
from toynet.training.precision import repeatable
from toynet.training.setup import Setup, in_steps, prepare
from toynet.training.spec import LossSpec

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")

MODELS = {
    "toynet14": {"widths": (16, 32, 64, 128)},
    "pure_resnet18": {"widths": (16, 32, 64, 128)},
    "speednet": {"widths": (32, 64, 64)},
}
TINY = {
    "data.name": "glyphs:600",
    "model.name": "toynet12",
    "model.widths": [16, 16, 32, 32],
    "model.dropout": 0.2,
    "train.epochs": 6,
    "train.batch_size": 50,
    "train.micro_batch": 25,
    "train.checkpoint_every": 1,
    "train.ema": 0.9,
}


def setup(precision: str, kernels: str = "direct", memory_format: str = "channels_last") -> Setup:
    return Setup(precision=precision, kernels=kernels, memory_format=memory_format, threads=1)


def gradients(model: torch.nn.Module, device: str, how: Setup) -> tuple[float, torch.Tensor]:
    """Loss and gradient of a batch of noise."""
    torch.manual_seed(1)
    images, labels = torch.randn(64, 3, 32, 32), torch.arange(64) % 10
    model = copy.deepcopy(model).to(device)
    prepare(model, how)
    loss, _ = loop.forward_backward(
        in_steps(model, how), losses.build(LossSpec()), images.to(device), labels.to(device), how, None
    )
    return loss, torch.cat([p.grad.flatten().cpu() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("kernels", ["direct", "compiled"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", MODELS)
def test_a_step_is_that_of_the_processor_but_for_rounding(name: str, precision: str, kernels: str):
    model = catalog.build(ModelSpec(name=name, **MODELS[name]), classes=10, image_shape=(32, 32, 3), seed=0)
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, std=0.1)  # a head at zero passes no gradient back
    expected, reference = gradients(model, "cpu", setup("fp32"))
    loss, gradient = gradients(model, "cuda", setup(precision, kernels))
    assert loss == pytest.approx(expected, rel=2e-3 if precision == "fp32" else 2e-2)
    cosine = torch.nn.functional.cosine_similarity(gradient, reference, dim=0)
    assert cosine > (0.995 if precision == "fp32" else 0.9)


@pytest.mark.parametrize("kernels", ["direct", "compiled"])
def test_replayed_passes_are_the_passes_themselves(kernels: str):
    """To the last bit: dropout draws alike, pieces add up, a part freezes, a smaller batch comes by."""
    spec = ModelSpec(name="toynet14", widths=(16, 32, 64, 128), dropout=0.3)
    how, loss = setup("bf16", kernels), losses.build(LossSpec())
    plain = catalog.build(spec, classes=10, image_shape=(32, 32, 3), seed=0).to("cuda")
    prepare(plain, how)
    model = copy.deepcopy(plain)
    called, replayed = in_steps(plain, how, alone=False), in_steps(model, how)
    generator = torch.Generator("cuda").manual_seed(3)
    with repeatable("cuda"):
        for step, size in enumerate([64, 64, 64, 64, 24, 64, 64, 64]):
            images = torch.randn(size, 3, 32, 32, device="cuda", generator=generator)
            labels = torch.arange(size, device="cuda") % 10
            found = []
            for network, owner in ((called, plain), (replayed, model)):
                freeze(owner, {"stem": 0.5, "stack1": 0.5}, step / 8)
                torch.manual_seed(step)
                found.append(
                    loop.forward_backward(network, loss, images, labels, how, 32 if step % 3 else None)
                )
            assert found[0] == found[1]
            for (name, value), (_, other) in zip(
                plain.named_parameters(), model.named_parameters(), strict=True
            ):
                assert (value.grad is None) == (other.grad is None)
                assert value.grad is None or torch.equal(value.grad, other.grad), (step, name)
            for (name, value), (_, other) in zip(plain.named_buffers(), model.named_buffers(), strict=True):
                assert torch.equal(value, other), (step, name)
    assert replayed._recorded is not None


def train(
    root: Path, name: str, *, resume: bool = False, reporter: Silent | None = None, **changes: object
) -> toynet.Run:
    return toynet.train(
        "quick", name=name, overrides={**TINY, **changes}, root=root, resume=resume, reporter=reporter
    )


def tensors(run: Path) -> dict[str, torch.Tensor]:
    parts, _, _ = load_latest(run / "checkpoints")
    return {f"{part}.{name}": value for part, named in parts.items() for name, value in named.items()}


def assert_same(one: Path, other: Path) -> None:
    first, second = tensors(one), tensors(other)
    assert first.keys() == second.keys()
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_recipe_and_seed_give_the_same_bits(tmp_path: Path, precision: str):
    runs = [train(tmp_path, name, **{"train.precision": precision}) for name in ("one", "two")]
    assert runs[0].result.threads >= 1
    assert (runs[0].path / "environment.json").read_text().count('"cuda"')
    assert_same(*(run.path for run in runs))


class Stopping(Silent):
    """Asks the process to stop in the middle of the third epoch."""

    images = 0

    def advance(self, units: int) -> None:
        self.images += units
        if self.images == 1100:
            signal.raise_signal(signal.SIGTERM)


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path):
    whole = train(tmp_path, "whole")
    with pytest.raises(Interrupted):
        train(tmp_path, "stopped", reporter=Stopping())
    train(tmp_path, "stopped", resume=True)
    assert_same(whole.path, tmp_path / "stopped")


def test_compiled_kernels_train_and_answer(tmp_path: Path):
    run = train(tmp_path, "compiled", **{"train.kernels": "compiled", "train.epochs": 3})
    assert toynet.evaluate(run, "val").scores.accuracy == pytest.approx(run.result.val_accuracy)
    assert len((run.path / "activations.json").read_text()) > 100


def test_images_without_room_on_the_device_stay_on_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    on_device = train(tmp_path, "device")
    monkeypatch.setattr(mapped, "fits", lambda images, device: False)
    assert_same(on_device.path, train(tmp_path, "host").path)
