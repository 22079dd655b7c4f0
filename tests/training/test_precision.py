import json
from pathlib import Path

import pytest

from toynet.training.precision import choose


def choice(
    memory: Path, requested: str = "auto", fp32_s: float = 1.0, bf16_s: float = 0.5, asked: list | None = None
):
    def time_step(kind: str) -> float:
        if asked is not None:
            asked.append(kind)
        return {"fp32": fp32_s, "bf16": bf16_s}[kind]

    return choose(requested, key="this machine", memory=memory, time_step=time_step)


@pytest.mark.parametrize(("bf16_s", "expected"), [(0.5, "bf16"), (0.97, "fp32"), (3.0, "fp32")])
def test_auto_takes_what_is_clearly_faster_and_says_why(tmp_path: Path, bf16_s: float, expected: str):
    found = choice(tmp_path / "p.json", bf16_s=bf16_s)
    assert found.precision == expected
    assert f"1000 ms in fp32, {bf16_s * 1e3:.0f} in bf16 (timed just now)" in found.why


def test_a_timing_is_remembered_by_machine(tmp_path: Path):
    asked: list[str] = []
    choice(tmp_path / "deep" / "p.json", asked=asked)
    again = choice(tmp_path / "deep" / "p.json", asked=asked)
    assert asked == ["fp32", "bf16"] * 4
    assert "timed before" in again.why
    assert json.loads((tmp_path / "deep" / "p.json").read_text()) == {"this machine": [1.0, 0.5]}


@pytest.mark.parametrize("content", ["garbage", "[]", '{"this machine": 3}', ""])
def test_a_damaged_memory_is_timed_anew(tmp_path: Path, content: str):
    (tmp_path / "p.json").write_text(content)
    assert "timed just now" in choice(tmp_path / "p.json").why
    assert json.loads((tmp_path / "p.json").read_text()) == {"this machine": [1.0, 0.5]}


def test_a_memory_that_cannot_be_written_is_done_without(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert choice(tmp_path / "file" / "p.json").precision == "bf16"


def test_what_the_user_asked_for_is_not_timed(tmp_path: Path):
    asked: list[str] = []
    assert choice(tmp_path / "p.json", "fp32", asked=asked).precision == "fp32"
    assert asked == []
