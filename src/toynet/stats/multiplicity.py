"""p-values of several questions at once."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values (Holm 1979), in the order given.

    statsmodels' multipletests gives the same (the tests compare), but collects all garbage on every call:
    25 ms, and more beside torch.
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values)
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted
