"""Named random streams: one seed, many independent generators.

A stream is named by a path such as ``("augment", "shift", epoch)``. Streams of different names share
nothing, so turning one knob (dropout, say) never moves the draws of another (data order). Every draw is
a pure function of the seed and the name: nothing has to be saved to resume.
"""

import hashlib

import numpy as np

Name = str | int


def derive(seed: int, *name: Name) -> int:
    """A 63-bit integer for `seed` and `name`, the same on every machine and version."""
    return _digest(seed, name) >> 65


def stream(seed: int, *name: Name) -> np.random.Generator:
    """A generator for `seed` and `name` (Philox, counter-based, keyed with 128 bits)."""
    return np.random.Generator(np.random.Philox(key=_digest(seed, name)))


def _digest(seed: int, name: tuple[Name, ...]) -> int:
    text = repr((int(seed), *name)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
