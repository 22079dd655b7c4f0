"""A child process of `toynet.data.decoding`: jobs on standard input, outcomes on standard output, one a line.

It ends when its input does. Ctrl-C is its parent's to handle.
"""

import json
import signal
import sys
from contextlib import suppress
from dataclasses import asdict

from toynet.data.decoding import Job, run_job


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(BrokenPipeError):  # nobody is left to report to
        for line in sys.stdin:
            sys.stdout.write(json.dumps(asdict(run_job(Job(**json.loads(line))))) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
