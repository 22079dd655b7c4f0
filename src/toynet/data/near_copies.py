"""Images of one set that another holds too, in any version: shifted, cropped, mirrored, in other colours.

First thumbnails are compared, all with all, for candidates; then the details of each candidate, in every
position that a shift, a slight zoom and a mirror can bring them to.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toynet.core.reporter import Reporter, Silent
from toynet.data.duplicates import shared_images
from toynet.data.images import ImageSet, Pixels, chunks
from toynet.data.pixels import resize_images, with_channels

LIKENESS = 0.85
"""From which on a pair counts, unless told otherwise."""

_SIDE = 32
_THUMBNAIL = 8
_ALIKE = 0.8
"""Of thumbnails, from which on details are compared."""

_CANDIDATES = 3
"""For each judged image."""

_SHIFT = 5
_ZOOM = 1.12
_FINE, _COARSE = 2, 11
"""Widths of the means between which lie the details that are compared: no noise, no smooth background."""

_STEP = 2
"""Pixels by which thumbnails are moved: their cells of four let larger moves through, no larger ones."""

_ROWS, _PRODUCTS, _PAIRS = 1024, 1 << 24, 128
"""Judged thumbnails, pairs of thumbnails, and pairs of images that are compared at once, at most."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class NearCopy:
    """Image number `judged` of one set shows what number `trained` of the other shows."""

    judged: int
    trained: int
    likeness: float
    """Correlation of the two images' details where they fit best; 1 for equal ones."""


def near_copies(
    judged: ImageSet, trained: ImageSet, *, least: float = LIKENESS, reporter: Reporter = Silent()
) -> list[NearCopy]:
    """Images of `judged` that `trained` holds in some version, likest first, each with the likest one.

    Images are compared at 32 x 32 pixels: a few pixels of shift there, an eighth of zoom, a mirror and any
    change of brightness, contrast and tint leave two images alike. Plain images are like equal ones only.
    """
    best = {mine: NearCopy(mine, theirs, 1.0) for mine, theirs in shared_images(judged, trained).tolist()}
    for pairs in _candidates(judged.images, trained.images, reporter):
        for first in range(0, len(pairs), _PAIRS):
            some = pairs[first : first + _PAIRS]
            found = _likeness(_small(judged.images[some[:, 0]]), _small(trained.images[some[:, 1]]))
            for (mine, theirs), likeness in zip(some.tolist(), found.tolist(), strict=True):
                if likeness >= least and (mine not in best or likeness > best[mine].likeness):
                    best[mine] = NearCopy(mine, theirs, min(likeness, 1.0))
    return sorted(best.values(), key=lambda copy: (-copy.likeness, copy.judged))


def _candidates(judged: Pixels, trained: Pixels, reporter: Reporter) -> Iterator[NDArray[np.int64]]:
    """Pairs (M, 2) of rows whose thumbnails are alike in some position, a few judged rows at a time."""
    theirs = np.zeros((len(trained), _THUMBNAIL**2 * 3), np.float32)
    reporter.begin("thumbnails", len(trained), "images")
    first = 0
    for chunk in chunks(trained):
        theirs[first : first + len(chunk)] = _thumbnails(_small(chunk))
        first += len(chunk)
        reporter.advance(len(chunk))
    reporter.begin("near copies", len(judged), "images")
    each = min(_ROWS, max(1, _PRODUCTS // max(1, len(trained))))
    for first in range(0, len(judged) if len(trained) else 0, each):
        some = _small(judged[first : first + each])
        alike, product = (np.full((len(some), len(trained)), -1, np.float32) for _ in range(2))
        for position in _positions(some):
            np.matmul(_thumbnails(position), theirs.T, out=product)
            np.maximum(alike, product, out=alike)
        yield _highest(alike) + np.array([first, 0])
        reporter.advance(len(some))


def _positions(images: Floats) -> Iterator[Floats]:
    """`images` (N, 32, 32, 3) where they are and moved a little, each plain and mirrored."""
    padded = np.pad(images, ((0, 0), (_STEP, _STEP), (_STEP, _STEP), (0, 0)), mode="edge")
    for top, left in ((1, 1), (0, 0), (0, 2), (2, 0), (2, 2)):
        moved = padded[:, top * _STEP :, left * _STEP :][:, :_SIDE, :_SIDE]
        yield moved
        yield moved[:, :, ::-1]


def _highest(alike: Floats) -> NDArray[np.int64]:
    """Places (M, 2) of the few highest values of each row that are high enough; `alike` is used up."""
    found = []
    rows = np.arange(len(alike))
    for _ in range(min(_CANDIDATES, alike.shape[1])):
        places = alike[rows].argmax(axis=1)
        high = alike[rows, places] > _ALIKE
        rows, places = rows[high], places[high]
        alike[rows, places] = -1
        found.append(np.stack([rows, places], axis=1))
    return np.concatenate(found)


def _thumbnails(images: Floats) -> Floats:
    """Means over the cells of a coarse grid, (N, 192): each colour about its mean, the whole of length 1."""
    cell = _SIDE // _THUMBNAIL
    cells = images.reshape(len(images), _THUMBNAIL, cell, _THUMBNAIL, cell, 3).mean((2, 4))
    found: Floats = (cells - cells.mean((1, 2), keepdims=True)).reshape(len(images), -1)
    lengths = np.sqrt((found**2).sum(axis=1, keepdims=True))
    np.divide(found, lengths, out=found, where=lengths > 0)
    return found


def _small(images: NDArray[np.uint8]) -> Floats:
    """`images` (N, H, W, 1 or 3) as (N, 32, 32, 3), 0..255."""
    return with_channels(resize_images(images, _SIDE), 3).astype(np.float32)


def _likeness(judged: Floats, trained: Floats) -> Floats:
    """Correlation (N,) of the details of images (N, 32, 32, 3) in the position that suits them best."""
    best = np.full(len(judged), -1, np.float32)
    close, wide = (_Details.of(trained, zoom) for zoom in (1.0, _ZOOM))
    for images in (judged, judged[:, :, ::-1]):
        plain = _Details.of(images, 1.0)
        for mine, theirs in ((plain, close), (plain, wide), (_Details.of(images, _ZOOM), close)):
            best = np.maximum(best, mine.correlation(theirs))
    return best


@dataclass(frozen=True)
class _Details:
    """The details of images, as spectra (N, F, F/2+1, 3), and their energy in every leading rectangle."""

    spectra: NDArray[np.complex64]
    energy: Floats
    """(N, 33, 33): the sum of squares above and left of each corner of a pixel."""

    @classmethod
    def of(cls, images: Floats, zoom: float) -> "_Details":
        fine, coarse = _operator(zoom, _FINE), _operator(zoom, _COARSE)
        details = _along_both(fine, images) - _along_both(coarse, images)
        padded = np.pad((details**2).sum(axis=3), ((0, 0), (1, 0), (1, 0)))
        side = _SIDE + 2 * _SHIFT
        spectra = np.fft.rfft2(details, (side, side), axes=(1, 2)).astype(np.complex64)
        return cls(spectra, padded.cumsum(axis=1).cumsum(axis=2))

    def correlation(self, other: "_Details") -> Floats:
        """The highest correlation (N,) over all shifts, each taken where the two images overlap."""
        side = _SIDE + 2 * _SHIFT
        shifts = np.arange(-_SHIFT, _SHIFT + 1)
        spectrum = (self.spectra * other.spectra.conj()).sum(axis=3)
        products = np.fft.irfft2(spectrum, (side, side), axes=(1, 2))[:, shifts[:, None], shifts]
        energies = self._energy_from(shifts) * other._energy_from(-shifts)
        # One grey level in every pixel: details below it are rounding.
        correlations = products / np.sqrt(np.maximum(energies, float(_SIDE) ** 4))
        highest: Floats = correlations.max(axis=(1, 2)).astype(np.float32)
        return highest

    def _energy_from(self, shifts: NDArray[np.int64]) -> Floats:
        """The energy (N, S, S) of the part of each image that another one covers, shifted by `shifts`."""
        low, high = np.maximum(shifts, 0), _SIDE + np.minimum(shifts, 0)
        corner = self.energy
        energy: Floats = (
            corner[:, high[:, None], high]
            - corner[:, low[:, None], high]
            - corner[:, high[:, None], low]
            + corner[:, low[:, None], low]
        )
        return energy


def _along_both(operator: Floats, images: Floats) -> Floats:
    """`operator` (32, 32) applied to the rows and to the columns of images (N, 32, 32, 3)."""
    found: Floats = np.einsum("yh,nhwc,xw->nyxc", operator, images, operator, optimize=True)
    return found


def _operator(zoom: float, width: float) -> Floats:
    """The matrix (32, 32) that zooms a line about its middle and takes means over `width` of its pixels."""
    middles = (np.arange(_SIDE) + 0.5 - _SIDE / 2) / zoom + _SIDE / 2
    low, high = middles - width / zoom / 2, middles + width / zoom / 2
    pixel = np.arange(_SIDE)
    shares = np.clip(np.minimum(high[:, None], pixel + 1) - np.maximum(low[:, None], pixel), 0, None)
    # Beyond the border the line goes on as it ends.
    shares[:, 0] += np.clip(-low, 0, None)
    shares[:, -1] += np.clip(high - _SIDE, 0, None)
    operator: Floats = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    return operator
