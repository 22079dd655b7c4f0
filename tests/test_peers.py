"""What of benchmarks/peers can be tested without the peers: the programs on torch, and the page."""

import importlib
from pathlib import Path

import pytest

PEERS = Path(__file__).parents[1] / "benchmarks" / "peers"
PROGRAMS = {"ours": {"changes": {"train.precision": "fp32"}}, "plain_torch": {}, "toynet_keras": {}}


@pytest.fixture
def peers(monkeypatch):
    """Loads a module of benchmarks/peers, whose scripts find each other beside themselves."""
    monkeypatch.syspath_prepend(PEERS)
    return importlib.import_module


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_trains_so_many_steps_of_the_same_network(peers, program, tmp_path):
    job = peers("contests").Job("small", "toynet12", (8, 8, 8, 8), 32, parameters=6610)
    peers("pool").write(tmp_path / "pool.npz")
    trainer = peers(program).build(job, PROGRAMS[program], tmp_path / "pool.npz")
    assert trainer.parameters == job.parameters
    assert trainer.train(2)[0] == 64


def test_parameters_of_the_jobs_are_ours(peers):
    from toynet.models.catalog import build
    from toynet.models.cost import count
    from toynet.models.spec import ModelSpec

    for job in peers("contests").JOBS:
        model = build(
            ModelSpec(name=job.model, widths=job.widths), classes=10, image_shape=(32, 32, 3), seed=0
        )
        assert count(model)[0] == job.parameters


def entry(library, setting, rates, *, default=False, **more):
    rounds = [
        {"images": 100 * rate, "seconds": 100, "processor_s": 190, "peak_mib": 1200, "other_work_cores": 0.0}
        for rate in rates
    ]
    ready = {"build_s": 2.0, "first_step_s": 3.0, "versions": {"torch": "2.13.0"}, "detail": ""}
    return {"library": library, "setting": setting, "default": default, "rounds": rounds} | ready | more


def record(*entries):
    return {
        "title": "ToyNet14 [64..512], batch 128",
        "command": "python benchmarks/peers/run.py",
        "date": "2026-11-24",
        "commit": "abc1234",
        "threads": 2,
        "window_s": 5.0,
        "elapsed_s": 480,
        "environment": {
            "processor": "Some CPU",
            "flags": ["avx2"],
            "cores": 2,
            "memory_gib": 23.5,
            "system": "Linux x86_64",
            "python": "3.11.7",
        },
        "matrix_product_gflops": {"before": {"fp32": 200.0}, "after": {"fp32": 190.0}},
        "contestants": list(entries),
    }


def test_page_forms_ratios_within_rounds_and_keeps_who_did_not_run(peers):
    page = peers("tables").page(
        [
            record(
                entry("ToyNet", "default", [300, 200, 280], default=True, detail="bf16"),
                entry("Keras on torch", "default", [100, 50, 140], default=True),
                entry("plain PyTorch", "bf16", [290, 190, 280]),
                entry("plain PyTorch", "torch.compile", [], not_run="no C++ compiler"),
            )
        ]
    )
    assert "| ToyNet | default (bf16) | 280 | 200 to 300 | 1.00 | 1.9 | 1,200 | 5 |" in page
    assert "| Keras on torch | default | 100 | 50 to 140 | 3.00 |" in page
    assert "| plain PyTorch | torch.compile | not run: no C++ compiler |" in page
    assert "by default (Keras on torch, default): **3.00**" in page
    assert "of any peer (plain PyTorch, bf16): **1.03**" in page
    assert "do not rely" not in page


def test_page_warns_of_other_work_and_does_without_toynet(peers):
    busy = entry("Keras on JAX", "default", [60], default=True)
    busy["rounds"][0]["other_work_cores"] = 1.5
    page = peers("tables").page([record(busy)])
    assert "| Keras on JAX | default | 60 | 60 to 60 |  |" in page
    assert "**Other work kept up to 1.5 cores busy meanwhile" in page
