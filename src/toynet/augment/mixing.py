"""Hiding and mixing: cutout, mixup (Zhang et al. 2018, arXiv 1710.09412), cutmix (Yun et al. 2019,
arXiv 1905.04899).

One difference from the papers' code: every image has a draw of its own, not one for the whole batch.
"""

import torch
from torch import Tensor


def cutout(images: Tensor, centre_y: Tensor, centre_x: Tensor, side_px: int) -> Tensor:
    """Set a square of `side_px` around each centre to 0, which is the mean colour once standardised.

    images: (B, C, H, W); centre_y, centre_x: (B,) in 0..1 of the side. Squares are cut off at the edges.
    """
    height, width = images.shape[2:]
    top = (centre_y * height).long() - side_px // 2
    left = (centre_x * width).long() - side_px // 2
    inside = _rectangle(images, top, top + side_px, left, left + side_px)
    return images.masked_fill(inside, 0.0)


def mixup(images: Tensor, labels: Tensor, weight: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
    """Blend image i with image `partner[i]`: weight[i] of the first. labels: (B, K) soft, mixed alike."""
    share = weight[:, None, None, None]
    mixed = images * share + images[partner] * (1 - share)
    return mixed, labels * weight[:, None] + labels[partner] * (1 - weight[:, None])


def cutmix(
    images: Tensor, labels: Tensor, weight: Tensor, centre_y: Tensor, centre_x: Tensor, partner: Tensor
) -> tuple[Tensor, Tensor]:
    """Paste a rectangle of image `partner[i]` into image i; labels (B, K) mix by the area really pasted.

    The rectangle covers 1 - weight[i] of the image before the edges cut it off; weight: (B,) in 0..1.
    """
    height, width = images.shape[2:]
    half = (1 - weight).sqrt() / 2
    top = ((centre_y - half) * height).round().long().clamp(0, height)
    bottom = ((centre_y + half) * height).round().long().clamp(0, height)
    left = ((centre_x - half) * width).round().long().clamp(0, width)
    right = ((centre_x + half) * width).round().long().clamp(0, width)
    inside = _rectangle(images, top, bottom, left, right)
    pasted = ((bottom - top) * (right - left)).to(labels.dtype) / (height * width)
    mixed = torch.where(inside, images[partner], images)
    return mixed, labels * (1 - pasted[:, None]) + labels[partner] * pasted[:, None]


def _rectangle(images: Tensor, top: Tensor, bottom: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """(B, 1, H, W) bool, true in rows top..bottom-1 and columns left..right-1 of each image."""
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    in_rows = (rows >= top[:, None]) & (rows < bottom[:, None])
    in_columns = (columns >= left[:, None]) & (columns < right[:, None])
    return (in_rows[:, :, None] & in_columns[:, None, :])[:, None]
