"""One run of a study, and whom it waits for."""

import os
import threading
import time
from pathlib import Path

import pytest

from toynet.core.errors import ToyNetError
from toynet.core.locks import folder_lock
from toynet.studies import jobs


def test_a_run_waits_for_the_process_that_still_saves_it(tmp_path: Path):
    held = threading.Event()

    def hold() -> None:
        with folder_lock(tmp_path):
            held.set()
            time.sleep(0.5)

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    started = time.monotonic()
    jobs._wait_until_free(tmp_path)
    assert time.monotonic() - started > 0.3
    other.join()


def test_but_not_forever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobs, "_FREE_WITHIN_S", 0.1)
    with folder_lock(tmp_path):
        jobs._wait_until_free(tmp_path)
        told = f"is in use by process {os.getpid()} on .*; wait for it or stop it"
        with pytest.raises(ToyNetError, match=told), folder_lock(tmp_path):
            pass
