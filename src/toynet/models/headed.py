"""What every network here is: named parts one after another, the last of them its head."""

from torch import Tensor, nn


class HeadedNet(nn.Sequential):
    """Parts in order, the last called `head`: images (N, C, H, W) -> logits (N, K)."""

    def features(self, images: Tensor) -> Tensor:
        """The maps that enter the head: (N, C, h, w)."""
        for name, part in self.named_children():
            if name != "head":
                images = part(images)
        return images
