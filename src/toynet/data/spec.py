"""The `[data]` table of a recipe."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from toynet.core.settings import Settings

Protocol = Literal["standard", "report", "full"]


class DataSpec(Settings):
    """Which images, and which of them validate."""

    name: str = "cifar10"
    """`cifar10`, `cifar100`, `glyphs`, `glyphs:COUNT`, `folder:PATH` or `npz:PATH`."""

    protocol: Protocol = "standard"
    """`standard`: a stratified tenth of train validates; `report`: the first fifth; `full`: none."""

    split_seed: Annotated[int, Field(ge=0, lt=2**63)] = 2021
    """Draws the standard split. Not the run's seed, so that replicates share their validation images."""

    size: Annotated[int, Field(ge=8, le=1024)] | None = None
    """Side in pixels that images are brought to; none keeps what arrays have, and means 32 for folders."""

    channels: Literal["auto", 1, 3] = "auto"
    """1: colour becomes gray, by luma (ITU-R 601); 3: gray is repeated. `auto`: what arrays have; of image
    files one where every image is gray, else three."""

    @field_validator("channels", mode="before")
    @classmethod
    def _is_no_other_kind_of_one(cls, channels: object) -> object:
        if isinstance(channels, bool | float):
            raise ValueError("input should be 'auto', 1 or 3")
        return channels

    @field_validator("name")
    @classmethod
    def _is_text(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("the name of a data set must be printable text")
        return name
