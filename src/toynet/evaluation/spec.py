"""The `[eval]` table of a recipe."""

from typing import Annotated, Literal

from pydantic import Field

from toynet.core.settings import Settings

TestTimeAugmentation = Literal["none", "flip", "shift"]


class EvalSpec(Settings):
    """How a trained model is asked. Nothing here changes its training."""

    tta: TestTimeAugmentation = "none"
    """Logits are averaged over views of each image. `none`: the image itself. `flip`: it and its mirror
    image, two passes. `shift`: these two, and each of them moved by one pixel up-left and down-right with
    reflect padding, six passes; customary in CIFAR-10 speed records, so compare like with like."""

    test: bool = True
    """Whether the trained model is scored on the test images. A study leaves them alone."""

    batch_size: Annotated[int, Field(ge=1)] = 500
    """Images in one forward pass; a matter of memory and speed only."""
