"""Goal 13: hostile archives and pickles, with a hook that sees every file opened and every unpickling."""

from typing import Any

from reliability import audit

COUNT = 1
SHORT = COUNT
_ALLOWED = "test_the_gadgets_would_run_elsewhere", "test_a_batch_of_python_2_is_read"
"""These unpickle on purpose: to show that the gadgets do run elsewhere, and what a batch is."""


def prove(count: int) -> dict[str, Any]:
    """The tests of archives and pickles: 52 archives with hostile members, gigabytes of zeros, 36 gadgets."""
    chosen = " and ".join(f"not {name}" for name in _ALLOWED)
    return audit.watch("tests/data/test_archives.py", "tests/data/test_cifar.py", "-k", chosen)
