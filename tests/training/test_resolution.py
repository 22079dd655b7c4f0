import pytest
import torch
from torch.nn import functional as F

import toynet
from toynet.training import loop
from toynet.training.resolution import shrink
from toynet.training.spec import SmallSpec

HALF = SmallSpec(side_px=16, until=0.5)


def test_areas_are_averaged():
    images = torch.rand(3, 2, 32, 32)
    small = shrink(images, HALF, 0.0)
    torch.testing.assert_close(small, F.avg_pool2d(images, 2))
    assert small.is_contiguous(memory_format=torch.channels_last)


def test_a_crop_is_the_middle():
    images = torch.rand(3, 2, 48, 32)
    small = shrink(images, SmallSpec(side_px=26, by="crop"), 0.0)
    assert torch.equal(small, images[:, :, 4:43, 3:29])
    assert small.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("shape", "expected"), [((32, 32), (24, 24)), ((48, 32), (36, 24)), ((30, 45), (24, 36))]
)
def test_the_shorter_side_is_the_one_that_is_named(shape: tuple[int, int], expected: tuple[int, int]):
    images = torch.full((1, 3, *shape), 0.25)
    small = shrink(images, SmallSpec(side_px=24), 0.0)
    assert small.shape[-2:] == expected
    torch.testing.assert_close(small, torch.full_like(small, 0.25))


@pytest.mark.parametrize(
    ("spec", "progress"), [(None, 0.0), (HALF, 0.5), (HALF, 0.99), (SmallSpec(side_px=32), 0.0)]
)
def test_otherwise_images_stay_as_they_are(spec: SmallSpec | None, progress: float):
    images = torch.rand(1, 3, 32, 32)
    assert shrink(images, spec, progress) is images


def test_a_run_sees_small_images_first(monkeypatch: pytest.MonkeyPatch, tmp_path):

    sides = []
    original = loop.forward_backward

    def spy(model, loss, images, *rest):
        sides.append(images.shape[-1])
        return original(model, loss, images, *rest)

    monkeypatch.setattr(loop, "forward_backward", spy)
    tiny = {"data.name": "glyphs:200", "model.name": "toynet12", "model.widths": [4, 4, 4, 4]}
    changes = {"train.epochs": 2, "train.batch_size": 45, "train.small": {"side_px": 24, "until": 0.5}}
    stated = {"train.precision": "fp32", "train.kernels": "direct", "train.memory_format": "channels_last"}
    toynet.train("quick", name="small", overrides=tiny | changes | stated, root=tmp_path, threads=1)
    assert sides == [24] * 4 + [32] * 4
