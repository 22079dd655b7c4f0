import torch

from toynet.augment.mixing import cutmix, cutout, mixup

IMAGES = torch.arange(4 * 3 * 16 * 16, dtype=torch.float32).view(4, 3, 16, 16) + 1
LABELS = torch.eye(4)
PARTNER = torch.tensor([1, 2, 3, 0])


def test_cutout_clears_one_square_an_image_and_nothing_else():
    centre = torch.tensor([0.0, 0.5, 0.99, 0.5])
    cut = cutout(IMAGES, centre, torch.full((4,), 0.5), 6)
    cleared = (cut == 0).all(dim=1)
    assert cleared.sum(dim=(1, 2)).tolist() == [18, 36, 24, 36]  # the edge cuts squares off
    assert torch.equal(cut[:, :, ~cleared.any(dim=0)], IMAGES[:, :, ~cleared.any(dim=0)])


def test_mixup_blends_images_and_labels_by_each_images_own_weight():
    weight = torch.tensor([1.0, 0.75, 0.5, 0.0])
    images, labels = mixup(IMAGES, LABELS, weight, PARTNER)
    for i in range(4):
        j = PARTNER[i]
        assert torch.allclose(images[i], weight[i] * IMAGES[i] + (1 - weight[i]) * IMAGES[j])
        assert torch.allclose(labels[i], weight[i] * LABELS[i] + (1 - weight[i]) * LABELS[j])


def test_cutmix_labels_count_the_pixels_that_were_pasted():
    weight = torch.tensor([0.2, 0.5, 0.9, 1.0])
    centre = torch.tensor([0.1, 0.5, 0.9, 0.3])
    images, labels = cutmix(IMAGES, LABELS, weight, centre, centre.flip(0), PARTNER)
    assert torch.allclose(labels.sum(dim=1), torch.ones(4))
    for i in range(4):
        pasted = (images[i] == IMAGES[PARTNER[i]]).all(dim=0)
        assert torch.equal(images[i][:, ~pasted], IMAGES[i][:, ~pasted])
        assert torch.isclose(labels[i, PARTNER[i]], pasted.float().mean())
    assert torch.equal(images[3], IMAGES[3])
