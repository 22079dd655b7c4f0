"""What a run remembers of its images, so that it can leave out those that it knows already.

An image whose loss was small when last seen teaches little, and its passes cost as much as any other's.
As in hard-example mining (Shrivastava et al. 2016, arXiv:1604.03540), but over a whole epoch, and by losses
that training has computed anyway, as in InfoBatch (Qin et al. 2024, arXiv:2303.04947), which draws lots.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toynet.core.errors import CheckpointError


class Seen:
    """Of every training image (N,): its latest loss, how often it was taken, whether this epoch lacks it.

    Losses are cross entropies in nats, without label smoothing, of images as augmented then.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}

    def epoch(
        self, order: NDArray[np.int64], count: int, *, begun: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of `order`, which holds every image once, the `count` of the largest losses, in its order.

        An epoch that is `begun` goes on with the images that it began with. Also returned is how often each
        of all images was taken in earlier epochs, which tells nothing of those that are left out.
        """
        if not (begun and self.tensors):
            self._begin(len(order), count)
        kept = order[~self.tensors["left_out"].numpy()[order]]
        return kept, self.tensors["times"].numpy() - 1

    def _begin(self, images: int, count: int) -> None:
        if not self.tensors:
            self.tensors = {
                "loss": torch.full((images,), torch.inf),
                "times": torch.zeros(images, dtype=torch.int64),
                "left_out": torch.zeros(images, dtype=torch.bool),
            }
        easiest = self.tensors["loss"].argsort(stable=True)[: images - count]
        self.tensors["left_out"].zero_()[easiest] = True
        self.tensors["times"] += ~self.tensors["left_out"]

    def note(self, indices: NDArray[np.int64], losses: Tensor) -> None:
        """Remember the losses (B,) of the images at `indices`."""
        self.tensors["loss"][torch.from_numpy(indices)] = losses.cpu()

    def restore(self, saved: dict[str, Tensor]) -> None:
        """Take over what `tensors` held. Raises `CheckpointError` on anything else."""
        if saved and saved.keys() != {"loss", "times", "left_out"}:
            raise CheckpointError("seen: the checkpoint does not tell each image's loss, times and left_out")
        self.tensors = {name: value.clone() for name, value in saved.items()}
