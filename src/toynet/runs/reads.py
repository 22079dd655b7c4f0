"""The ledger of test-set reads: every look at test images is written down, beside the runs."""

import time
from pathlib import Path

from toynet.core.files import append_json_line, make_folder, read_json_lines

LEDGER = "test-reads.jsonl"


def log_test_read(runs: Path, *, digest: str, run: str, verb: str) -> int:
    """Note one more read of the test images with this `digest`; returns how often they have been read."""
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = {"digest": digest, "run": run, "verb": verb, "when": when}
    make_folder(runs)
    append_json_line(runs / LEDGER, line, checked=True)
    return count_test_reads(runs, digest)


def check_ledger(runs: Path) -> None:
    """Raise `ToyNetError` when the ledger is damaged: better before a training than after it."""
    read_json_lines(runs / LEDGER)


def count_test_reads(runs: Path, digest: str, *, but_for: str | None = None) -> int:
    """How often the test images with this `digest` have been read, but for reads by the verb `but_for`."""
    lines = (line for line in read_json_lines(runs / LEDGER) if isinstance(line, dict))
    return sum(line.get("digest") == digest and line.get("verb") != but_for for line in lines)
