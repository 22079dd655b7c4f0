"""Reading ahead in training images that are mapped from a file: the disk works while the processor does.

A page that is not in memory is read when it is touched, and the step waits for it, image after image. Told in
time which images the next batch has, the system reads them meanwhile, all at once.
"""

import torch
from torch import Tensor

from toynet.core.memory import available_bytes, read_singly, will_need

_KEPT_SHARE = 0.5
"""Of the available memory that images may take before the system can hardly keep them all."""


def prepare(images: Tensor) -> None:
    """Make ready to pick `images` in any order from the file that they are mapped from.

    By default the system reads megabytes around every page, and so has the whole file in memory soon. Where
    it cannot stay there, each image would be read hundreds of times over: then only what is asked for is.
    """
    if images.nbytes > _KEPT_SHARE * available_bytes():
        read_singly(images.data_ptr(), images.nbytes)


def expect(images: Tensor, rows: Tensor) -> None:
    """Ask for `rows` (B,) of `images` (M, H, W, C), which are mapped from a file; returns at once."""
    size = images[0].numel()
    will_need(images.data_ptr(), (rows * size).tolist(), size)


def fits(images: Tensor, device: str) -> bool:
    """Whether `images` may be kept on `device`: always on the host, else if that takes half its room."""
    if torch.device(device).type != "cuda":
        return True
    return 2 * images.nbytes <= torch.cuda.mem_get_info(device)[0]
