# Everything from a fresh clone with nothing but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
PEERS := .venv-peers/bin
RAY_TESTS := tests/studies/test_ray_engine.py

.PHONY: demo test lint proof-stats proof-reliability bench-peers clean

demo: $(READY)
	$(BIN)/toynet train quick

test: $(READY) lint
	# Ray's tests have a run of their own: shared out among processes, some missed their cluster once.
	$(BIN)/python -m pytest $(RAY_TESTS)
	$(BIN)/python -m pytest -n 2 --dist worksteal --ignore $(RAY_TESTS)

lint: $(READY)
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

# Are the verdicts right as often as they say? Some five minutes of one core, into results/stats/.
proof-stats: $(READY)
	$(BIN)/python benchmarks/proof_stats.py

# Kills, power cuts, full disks, damage, in their long forms: hours, into results/reliability/.
proof-reliability: $(READY)
	$(BIN)/python benchmarks/proof_reliability.py

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

# ToyNet's speed beside Keras' and plain torch's, into results/peers/; half an hour, on an idle machine.
bench-peers: .venv-peers/ready
	$(PEERS)/python benchmarks/peers/run.py

# In two steps, for TensorFlow asks for an older h5py than constraints.txt has for the tests.
.venv-peers/ready: pyproject.toml constraints.txt benchmarks/peers/requirements.txt
	$(PYTHON) -m venv .venv-peers
	$(PEERS)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	$(PEERS)/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers/requirements.txt
	touch .venv-peers/ready

clean:
	rm -rf .venv .venv-peers
