"""Logits of a trained model on images in memory, with test-time augmentation.

Evaluation leaves no trace: the training flags of all modules are restored, batch-norm statistics are not
touched, and no random number is drawn, so a run trains alike however often it is evaluated.

The `shift` views are those customary in CIFAR-10 speed records since Keller Jordan's airbench. Ours all weigh
the same, and the mirror image is moved in the same directions as the image, which makes the average exactly
invariant to mirroring; scores of other code may weigh its views otherwise.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from toynet.augment.standardise import Standardiser
from toynet.core.errors import DataError
from toynet.data.images import Pixels
from toynet.evaluation.spec import EvalSpec, TestTimeAugmentation

Autocast = Callable[[], AbstractContextManager[object]] | torch.dtype | None


def logits(
    model: nn.Module,
    images: Pixels,
    *,
    mean: ArrayLike,
    std: ArrayLike,
    spec: EvalSpec,
    device: torch.device | str,
    autocast: Autocast = None,
) -> NDArray[np.float32]:
    """The model's logits (N, K) float32 for `images` (N, H, W, C) uint8, on the host.

    `mean` and `std` (C,) are those of the training images on the 0..255 scale. `autocast` is the dtype of
    the matrix products, or a function that returns a context to run under; with None, products are
    computed in the weights' dtype. The model must already be on `device`. Raises `DataError` when there are
    no images or they are not uint8 (N, H, W, C).
    """
    if images.ndim != 4 or images.dtype != np.uint8 or not len(images):
        raise DataError(
            f"images must be uint8 (N, H, W, C) with N > 0, not {images.dtype} {tuple(images.shape)}"
        )
    device = torch.device(device)
    dtype = next((weight.dtype for weight in model.parameters()), torch.float32)
    centre, scale = (np.array(value, np.float32) for value in (mean, std))
    standardise = Standardiser.of(centre, scale, width=images.shape[2], device=str(device))
    outputs: list[Tensor] = []
    with evaluating(model), _precision(autocast, device):
        for start in range(0, len(images), spec.batch_size):
            batch = np.require(images[start : start + spec.batch_size], requirements=("C", "W"))
            standardised = standardise(torch.from_numpy(batch).to(device)).to(dtype)
            outputs.append(_mean_over_views(model, standardised, spec.tta))
        joined: NDArray[np.float32] = torch.cat(outputs).cpu().numpy()
    return joined


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put `model` into evaluation mode without gradients, then give every module its own flag back.

    `model.train(flag)` would not do: it also wakes modules that were frozen one by one.
    """
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, flag in flags:
            module.training = flag


def views(batch: Tensor, tta: TestTimeAugmentation) -> Sequence[Tensor]:
    """The versions of `batch` (N, C, H, W) that `tta` averages over, each channels-last; itself first."""
    seen = [batch] if tta == "none" else [batch, batch.flip(3)]
    if tta == "shift":
        framed = [F.pad(view, (1, 1, 1, 1), mode="reflect") for view in seen]
        seen += [frame[:, :, 2:, 2:] for frame in framed] + [frame[:, :, :-2, :-2] for frame in framed]
    return [view.contiguous(memory_format=torch.channels_last) for view in seen]


def _mean_over_views(model: nn.Module, batch: Tensor, tta: TestTimeAugmentation) -> Tensor:
    """Averaged in float32 (N, K), one view after the other, so that memory stays that of one batch."""
    seen = views(batch, tta)
    total: Tensor = model(seen[0]).float()
    for view in seen[1:]:
        total = total + model(view).float()
    return total / len(seen)


def _precision(autocast: Autocast, device: torch.device) -> AbstractContextManager[object]:
    if autocast is None:
        return nullcontext()
    if isinstance(autocast, torch.dtype):
        return torch.autocast(device.type, dtype=autocast)
    return autocast()
