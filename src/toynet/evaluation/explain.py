"""What in an image speaks for a class: Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) by captum.

The maps explained are those that enter the head, the deepest that still have places. They are coarse: a
ToyNet looks at a 32x32 image in 4x4 of them. Only the head is differentiated, so a map costs little more than
a prediction.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toynet.core.errors import ToyNetError
from toynet.evaluation.predict import evaluating
from toynet.models.headed import HeadedNet


def heat_maps(model: HeadedNet, images: Tensor, labels: Tensor) -> NDArray[np.float32]:
    """How strongly each place speaks for `labels` (N,): (N, H, W) in 0..1, 1 at each image's strongest place.

    images: (N, C, H, W), standardised, on the model's device. An image in which nothing speaks for its
    class is 0 throughout. Raises `ToyNetError` where captum is not installed.
    """
    try:
        from captum.attr import LayerAttribution, LayerGradCam
    except ImportError:
        raise ToyNetError("heat maps need captum; install it by pip install 'toynet-lab[explain]'") from None
    with evaluating(model):
        features = model.features(images).float()
    head = model.get_submodule("head")
    flags = [(module, module.training) for module in head.modules()]
    head.eval()
    try:
        # A copy outside inference mode: gradients with respect to it are asked for.
        method = LayerGradCam(head, head.get_submodule("pool"))
        coarse = method.attribute(
            features.clone().requires_grad_(),
            target=labels,
            attribute_to_layer_input=True,
            relu_attributions=True,
        )
    finally:
        for module, flag in flags:
            module.training = flag
    fine = LayerAttribution.interpolate(coarse.detach(), tuple(images.shape[2:]), "bilinear")[:, 0]
    strongest = fine.amax((1, 2), keepdim=True)
    heat: NDArray[np.float32] = torch.where(strongest > 0, fine / strongest, 0.0).cpu().numpy()
    return heat
