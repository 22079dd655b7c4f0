"""The kernels' text for AVX-512, in plain vectors of AVX2: what tests ask of kernels, asked of it there.

What it cannot tell is whether a compiler and a processor do as they should with the instructions themselves.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from toynet.core.environment import flags
from toynet.kernels.build import obstacle

HERE = Path(__file__).parent
ASKED = [
    *(HERE / f"test_{name}.py" for name in ("maps", "matrix", "pointwise", "windows", "winograd")),
    HERE.parent / "models" / "test_whole.py",
]
FAST = """
import torch
from toynet.kernels.build import library

print(library(torch.bfloat16).winograd_is_fast())
"""

pytestmark = [
    pytest.mark.skipif(obstacle(torch.float32) is not None, reason=f"no kernels: {obstacle(torch.float32)}"),
    pytest.mark.skipif("avx2" not in flags(), reason="a processor without AVX2"),
]


def python(*arguments: str | Path, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"CC": str(HERE / "wide" / "cc"), "XDG_CACHE_HOME": str(cache)}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)


def test_all_that_is_asked_of_kernels(tmp_path: Path):
    fast = python("-c", FAST, cache=tmp_path)
    assert (fast.returncode, fast.stdout.strip()) == (0, "1"), fast.stderr
    asked = python("-m", "pytest", "-q", "-p", "no:cacheprovider", *ASKED, cache=tmp_path)
    assert asked.returncode == 0, asked.stdout[-5000:]
    assert "skipped" not in asked.stdout.splitlines()[-1]
