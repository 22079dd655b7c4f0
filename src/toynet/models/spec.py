"""The `[model]` table of a recipe."""

from typing import Annotated, Literal

from pydantic import Field

from toynet.core.settings import Settings

Order = Literal["pre", "post", "relu_bn"]
Shortcut = Literal["conv", "conv_bn", "pool"]
Head = Literal["gap", "flatten"]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]


class ModelSpec(Settings):
    """An architecture and its knobs. What is left at none takes the value of the named architecture."""

    name: str = "toynet14"
    """A name from `toynet models list`."""

    widths: tuple[Annotated[int, Field(ge=1, le=4096)], ...] | None = None
    """Channels of each stack."""

    order: Order | None = None
    """`pre`: BN, ReLU, conv. `post`: conv, BN, ReLU. `relu_bn`: conv, ReLU, BN."""

    shortcut: Shortcut | None = None
    """Where shape changes: 1x1 convolution, the same with BN, or average pooling and zero channels."""

    head: Head = "gap"
    """Before the dense layer: global average pooling, or flattening."""

    dropout: Probability = 0.0
    """Before the dense layer."""

    conv_dropout: Probability = 0.0
    """Inside every block, before its last convolution."""

    weights: str | None = None
    """A file of Keras (`.h5`, `.keras`) to start from, of this architecture."""

    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """The content of that file; filled in as a run begins."""
