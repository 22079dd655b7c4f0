import numpy as np
import pytest
import torch
from scipy import stats

from toynet.augment import pipeline
from toynet.augment.spec import AugmentSpec
from toynet.augment.standardise import Standardiser
from toynet.data import batches

N = 600
RNG = np.random.default_rng(0)
PIXELS = torch.from_numpy(RNG.integers(0, 256, (N, 32, 32, 3), dtype=np.uint8))
LABELS = torch.from_numpy(RNG.integers(0, 10, N))
STANDARDISE = Standardiser.of(np.full(3, 120, np.float32), np.full(3, 60, np.float32), width=32, device="cpu")
EVERYTHING = {"rotate_deg": 15, "shift": 0.1, "flip": "random", "crop_pad_px": 2, "cutout_px": 8}


def draw(spec: AugmentSpec, seed: int = 0, epoch: int = 0) -> pipeline.Draws:
    return pipeline.draw(spec, batches.order(N, seed=seed, epoch=epoch), seed=seed, epoch=epoch)


def run(spec: AugmentSpec, batch_size: int, seed: int = 0, epoch: int = 0):
    order = torch.from_numpy(batches.order(N, seed=seed, epoch=epoch))
    draws = draw(spec, seed, epoch)
    pieces = []
    for rows in batches.batches(N, batch_size):
        index = order[rows]
        images = STANDARDISE(PIXELS[index])
        pieces.append(pipeline.augment(spec, images, LABELS[index], draws, rows, classes=10))
    return torch.cat([images for images, _ in pieces]), torch.cat([labels for _, labels in pieces])


def test_an_image_is_augmented_by_its_position_whatever_the_batch():
    spec = AugmentSpec(**EVERYTHING)
    assert torch.equal(run(spec, 600)[0], run(spec, 37)[0])


def test_seed_and_epoch_change_the_draws_and_repeating_them_does_not():
    spec = AugmentSpec(**EVERYTHING)
    first = run(spec, 100)[0]
    assert torch.equal(first, run(spec, 100)[0])
    assert not torch.equal(first, run(spec, 100, seed=1)[0])
    assert not torch.equal(draw(spec).affine, draw(spec, epoch=1).affine)


@pytest.mark.parametrize("extra", [{"cutout_px": 8}, {"mixup": 0.4}, {"crop_pad_px": 4}, {"shift": 0.1}])
def test_turning_one_knob_leaves_the_other_draws_alone(extra: dict):
    plain, more = (
        draw(AugmentSpec(rotate_deg=15, flip="random")),
        draw(AugmentSpec(rotate_deg=15, flip="random", **extra)),
    )
    assert torch.equal(plain.flip, more.flip)
    assert torch.equal(plain.affine[:, 0], more.affine[:, 0])


def test_draws_have_the_promised_distributions():
    draws = pipeline.draw(AugmentSpec(**EVERYTHING), np.arange(20_000), seed=5, epoch=3)
    degrees, down, right = draws.affine.unbind(dim=1)
    for values, limit in ((degrees, 15), (down, 0.1), (right, 0.1)):
        assert stats.kstest(values.numpy(), stats.uniform(-limit, 2 * limit).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.03
    assert abs(draws.flip.float().mean() - 0.5) < 0.02
    assert sorted(draws.crop[:, 0].unique().tolist()) == [-2, -1, 0, 1, 2]


def test_alternating_flips_change_side_every_epoch():
    spec = AugmentSpec(flip="alternate")
    sides = []
    for epoch in range(4):
        order = batches.order(N, seed=0, epoch=epoch)
        by_image = np.empty(N, bool)
        by_image[order] = pipeline.draw(spec, order, seed=0, epoch=epoch).flip.numpy()
        sides.append(by_image)
    assert np.array_equal(sides[0], ~sides[1])
    assert np.array_equal(sides[0], sides[2])
    assert 0.4 < sides[0].mean() < 0.6


def test_alternating_flips_count_visits_where_images_are_left_out():
    spec = AugmentSpec(flip="alternate")
    order = batches.order(N, seed=0, epoch=0)
    first = pipeline.draw(spec, order, seed=0, epoch=0).flip.numpy()
    before = np.random.default_rng(0).integers(0, 3, N)
    later = pipeline.draw(spec, order[: N // 2], seed=0, epoch=7, before=before).flip.numpy()
    assert np.array_equal(later, first[: N // 2] ^ (before[order[: N // 2]] == 1))


def test_mixing_gives_soft_labels_that_sum_to_one():
    for spec in (AugmentSpec(mixup=0.4), AugmentSpec(cutmix=1.0)):
        images, labels = run(spec, 100)
        assert images.shape == (N, 3, 32, 32)
        assert torch.allclose(labels.sum(dim=1), torch.ones(N), atol=1e-5)
        assert (labels.max(dim=1).values < 0.999).float().mean() > 0.5


def test_nothing_on_changes_nothing():
    images, labels = run(AugmentSpec(), 600)
    order = torch.from_numpy(batches.order(N, seed=0, epoch=0))
    assert torch.equal(images, STANDARDISE(PIXELS[order]))
    assert torch.equal(labels, LABELS[order])


def test_standardising_equals_keras_featurewise():
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    from toynet.data.images import ImageSet
    from toynet.data.splits import channel_statistics

    pixels = PIXELS.numpy()
    keras = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True, dtype="float64")
    keras.fit(pixels)
    expected = keras.standardize(pixels[:50].astype(np.float64))
    labels = np.zeros(len(pixels), np.int64)
    mean, std = channel_statistics(ImageSet(pixels, labels, ("any",)))
    ours = Standardiser.of(mean, std, width=32, device="cpu")(PIXELS[:50])
    assert np.abs(ours.permute(0, 2, 3, 1).numpy() - expected).max() < 1e-4
    assert ours.is_contiguous(memory_format=torch.channels_last)
