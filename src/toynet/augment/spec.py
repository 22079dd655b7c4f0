"""The `[augment]` table of a recipe."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from toynet.core.settings import Settings

Flip = Literal["none", "random", "alternate"]
Fill = Literal["nearest", "reflect", "zero"]


class AugmentSpec(Settings):
    """How training images vary. Everything is off by default; validation and test are never augmented."""

    rotate_deg: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Rotation drawn uniformly from plus or minus this many degrees."""

    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Horizontal and vertical shift, each uniform in plus or minus this fraction of the side."""

    flip: Flip = "none"
    """Mirror left and right: by a coin, or `alternate`: a coin in the first epoch, then every other epoch."""

    fill: Fill = "nearest"
    """What rotation and shift put where no pixel was: the nearest one, a reflection, or the mean colour
    (`zero`: images are standardised by then)."""

    crop_pad_px: Annotated[int, Field(ge=0, le=64)] = 0
    """Shift by whole pixels, up to this many each way, over a reflected border."""

    cutout_px: Annotated[int, Field(ge=0, le=512)] = 0
    """Side of a square that is replaced by the mean colour."""

    mixup: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Blend each image with another, weight from Beta(a, a); 0 is off."""

    cutmix: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Paste a rectangle of another image, its area from Beta(a, a); 0 is off."""

    @field_validator("flip", mode="before")
    @classmethod
    def _accept_booleans(cls, value: object) -> object:
        return {True: "random", False: "none"}[value] if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _one_way_of_mixing(self) -> Self:
        if self.mixup and self.cutmix:
            raise ValueError("mixup and cutmix cannot both be on; set one of them to 0")
        return self
