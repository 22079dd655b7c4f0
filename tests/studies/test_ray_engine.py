"""Whole studies on a real Ray cluster of this machine, whose processes are really killed."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import alive, descendants, holder
from tiny_study import toml

import toynet
from toynet.core.errors import ToyNetError, UsageError
from toynet.studies import cluster as cluster_room
from toynet.studies.cluster import Cluster
from toynet.studies.conduct import Nobody
from toynet.studies.folder import StudyFolder
from toynet.studies.jobs import Job
from toynet.studies.ledger import TIMED
from toynet.studies.ray_head import Head

NO_RAY = "Ray is not installed: pip install 'toynet-lab[ray]'"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster of one node with two CPUs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", "7" * 64)
        pytest.importorskip("ray", reason=NO_RAY)
        head = Head(cpus=2, show_logs=False)
        yield head.address
        head.end()


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("spec") / "tiny.toml"
    file.write_text(toml(epochs=6))
    return file


@pytest.fixture(scope="module")
def local(spec: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """The study as processes of this machine make it, one thread a run."""
    root = tmp_path_factory.mktemp("local")
    return StudyFolder(toynet.study(str(spec), jobs=os.cpu_count(), root=root).path)


def lines(folder: StudyFolder) -> list[dict]:
    return [json.loads(line) for line in folder.ledger.path.read_text().splitlines()]


def scores(folder: StudyFolder) -> dict:
    """All of every run that does not depend on the clock."""
    return {key: entry.model_dump(exclude=TIMED) for key, entry in folder.ledger.entries().items()}


class Killer(Nobody):
    """Kills the process of the first run that has finished an epoch; `begun`: which runs were, in order."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int]] = []
        self.killed: tuple[str, int] | None = None

    def began(self, job: Job) -> None:
        self.begun.append((job.arm, job.seed))
        if len(self.begun) == 1:
            threading.Thread(target=self.kill, args=(job,)).start()

    def kill(self, job: Job) -> None:
        run = Path(job.path)
        while not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").read_text():
            time.sleep(0.01)
        os.kill(holder(run), signal.SIGKILL)
        self.killed = (job.arm, job.seed)


def test_a_study_on_ray_is_the_study_as_here_and_a_killed_run_goes_on(
    address: str, spec: Path, local: StudyFolder, tmp_path: Path
):
    killer = Killer()
    found = toynet.study(str(spec), cluster=Cluster(address=address), root=tmp_path, audience=killer)
    there = StudyFolder(found.path)
    assert killer.killed is not None
    assert sorted(killer.begun) == sorted([*scores(local), killer.killed]), "one was begun twice"
    assert scores(there) == scores(local)
    plan, *runs = lines(there)
    assert plan == lines(local)[0]
    assert {tuple(run["run"]) for run in runs} == {tuple(lines(local)[1]["run"])}
    assert found.findings.comparisons == local.account().findings.comparisons
    files = [
        sorted(str(file.relative_to(study.runs)) for file in study.runs.rglob("*"))
        for study in (there, local)
    ]
    events = re.compile(r"events\.out\S+")
    assert {events.sub("events", file) for file in files[0]} == {
        events.sub("events", file) for file in files[1]
    }
    assert [len(StudyFolder(there.path).run(*key).metrics()) for key in scores(local)] == [6] * 4


def test_a_study_that_is_interrupted_on_ray_goes_on_here(
    address: str, spec: Path, local: StudyFolder, tmp_path: Path
):
    process = command(spec, tmp_path, "--address", address)
    folder = StudyFolder(tmp_path / "tiny")
    wait_for(lambda: list(folder.runs.glob("*/checkpoints/*")), process)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert told.strip().splitlines()[-1] == "error: stopped; every run is saved, go on with --resume"
    begun = {run.name: (run / "recipe.toml").stat().st_mtime_ns for run in folder.runs.iterdir()}
    assert begun
    toynet.study(str(spec), jobs=os.cpu_count(), resume=True, root=tmp_path)
    assert scores(folder) == scores(local)
    assert {name: (folder.runs / name / "recipe.toml").stat().st_mtime_ns for name in begun} == begun


@pytest.mark.parametrize(("blow", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
def test_nothing_is_left_of_a_study_that_started_its_own_ray(
    spec: Path, tmp_path: Path, blow: signal.Signals, code: int
):
    """SIGTERM as a supervisor sends it, to the whole process group."""
    pytest.importorskip("ray", reason=NO_RAY)
    process = command(spec, tmp_path, "--jobs", "1", "--seeds", "50")
    folder = StudyFolder(tmp_path / "tiny")
    wait_for(lambda: list(folder.runs.glob("*/checkpoints/*")), process)
    family = descendants(process.pid)
    assert {"raylet", "gcs_server"} <= {Path(name).name for name in family.values()}
    os.killpg(process.pid, blow)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code, told
    assert "Traceback" not in told
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and alive(family):
        time.sleep(0.2)
    assert alive(family) == {}, "no process outlives the study by ten seconds"


def command(spec: Path, root: Path, *more: str) -> subprocess.Popen:
    toynet = [sys.executable, "-c", "from toynet.cli.app import main; main()"]
    return subprocess.Popen(
        [*toynet, "study", str(spec), "--engine", "ray", *more],
        env=os.environ | {"TOYNET_STUDIES": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(happened, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_other_sources_on_a_node_are_refused_by_name(
    address: str, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from toynet.studies import ray_engine

    monkeypatch.setattr(ray_engine, "code_fingerprint", lambda: "toynet 9.9.9 (sources 0)")
    told = rf"node {socket.gethostname()} has toynet \d\S+ \(sources \w+\), but .* planned by toynet 9.9.9"
    with pytest.raises(ToyNetError, match=told):
        toynet.study(str(spec), cluster=Cluster(address=address), jobs=1, root=tmp_path)
    assert StudyFolder(tmp_path / "tiny").ledger.entries() == {}


def test_a_folder_that_the_nodes_do_not_see_is_told(address: str, tmp_path: Path):
    from toynet.studies import ray_engine

    engine = ray_engine.RayEngine(Cluster(address=address), threads=1, jobs=1)
    try:
        engine.begin(
            Job(arm="a", seed=0, recipe="", path=str(tmp_path / "r"), images="/away/study/.images/0")
        )
        answers = []
        while not answers:
            answers = list(engine.answers())
        assert "does not see /away/study; keep studies on a folder that all nodes share" in str(answers[0][1])
    finally:
        engine.close()


def test_a_run_that_no_node_has_room_for_is_told(address: str, spec: Path, tmp_path: Path):
    with pytest.raises(ToyNetError, match="no node of the Ray cluster has 64 CPUs and 0 GPUs for a run"):
        toynet.study(str(spec), cluster=Cluster(address=address, cpus_per_run=64), root=tmp_path)
    with pytest.raises(ToyNetError, match=r"no node of the Ray cluster has 1 CPUs and 0\.5 GPUs for a run"):
        toynet.study(str(spec), cluster=Cluster(address=address, gpus_per_run=0.5), root=tmp_path)
    assert not list(tmp_path.glob("tiny*")), "nothing is written before the cluster is known to do"


def test_threads_of_a_study_that_has_begun_are_kept(spec: Path, local: StudyFolder):
    with pytest.raises(UsageError, match="was begun with 1 threads a run, and keeps them"):
        toynet.study(str(spec), cluster=Cluster(cpus_per_run=2), resume=True, root=local.path.parent)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:{closed}", r"no Ray cluster answers at 127.0.0.1:\d+ \(Connection refused\)"),
        ("127.0.0.1:{silent}", r"no Ray cluster answers at 127.0.0.1:\d+ \(timed out\)"),
        ("ray://127.0.0.1:1", "address ray://127.0.0.1:1: give HOST:PORT of a cluster"),
        ("nonsense", "address nonsense: give HOST:PORT of a cluster"),
    ],
)
def test_an_address_that_does_not_answer_is_one_line(
    address: str, told: str, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("ray", reason=NO_RAY)
    monkeypatch.setattr(cluster_room, "_ANSWERS_WITHIN_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as closed:
        ports = {"silent": silent.getsockname()[1], "closed": closed.getsockname()[1]}
        closed.close()
        with pytest.raises(ToyNetError, match=told):
            toynet.study(str(spec), cluster=Cluster(address=address.format(**ports)), root=tmp_path)
    assert not list(tmp_path.glob("tiny*"))


def test_without_ray_the_extra_is_named(spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ToyNetError, match=r"needs Ray: pip install 'toynet-lab\[ray\]'"):
        toynet.study(str(spec), cluster=Cluster(), root=tmp_path)


@pytest.mark.slow
def test_the_proof_holds():
    """Two nodes, forty runs, a kill every 20 seconds; twenty minutes on a busy machine."""
    pytest.importorskip("ray", reason=NO_RAY)
    proof = Path(__file__).parents[2] / "benchmarks" / "proof_ray.py"
    subprocess.run([sys.executable, str(proof)], check=True, stdout=subprocess.DEVNULL)
