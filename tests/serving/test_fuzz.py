"""The API asked by Schemathesis, from its own description, at a real server."""

import subprocess
import sys
from pathlib import Path

from served import Served

EXAMPLES = 8
# That a string of bytes has to be a picture, a description cannot say.
SETTINGS = """
[[operations]]
include-path = "/api/runs/{name}/predict"
checks.positive_data_acceptance.enabled = false
"""


def test_no_request_makes_the_server_fail(served: Served, tmp_path: Path):
    (tmp_path / "settings.toml").write_text(SETTINGS)
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "--config-file=settings.toml",
        "run",
        f"{served.address}/api/openapi.json",
        f"--max-examples={EXAMPLES}",
        "--phases=coverage,fuzzing",
        "--request-timeout=60",
        "--seed=1",
        "--no-color",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stdout[-6000:]
    assert "Tested: 8" in done.stdout
