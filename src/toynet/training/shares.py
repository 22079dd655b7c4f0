"""How ranks divide a batch among themselves."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """A rank's part of a batch of `whole` images: the positions `rows` of the epoch.

    Forward passes go over `reach` images, some of which may be missing here: where ranks meet in batch norm
    all must make as many passes as the one with the largest part.
    """

    rows: slice
    whole: int
    reach: int

    @property
    def count(self) -> int:
        """Images of this part."""
        return int(self.rows.stop - self.rows.start)

    @property
    def weight(self) -> float:
        """Their part of the batch."""
        return self.count / self.whole


def share(rows: slice, rank: int, size: int, *, together: bool) -> Share:
    """The part of the batch at `rows` that belongs to `rank` of `size`: in order, and even but for one image.

    With fewer images than ranks some parts are empty. together: whether ranks meet in their forward passes.
    """
    whole = rows.stop - rows.start
    first, last = (rows.start + whole * number // size for number in (rank, rank + 1))
    return Share(slice(first, last), whole, -(-whole // size) if together else last - first)
