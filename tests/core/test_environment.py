import os
import subprocess
import sys
import time

import pytest

from toynet.core.environment import busy_cores, describe


def test_the_description_names_machine_and_versions_but_nobody():
    about = describe()
    assert about["cores"] == os.cpu_count()
    assert about["packages"]["torch"]
    assert os.uname().nodename not in str(about)


@pytest.mark.skipif(busy_cores() is None, reason="this system does not tell how busy its cores are")
def test_a_spinning_process_is_seen():
    spinning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.3)
        assert max(busy_cores() for _ in range(5)) > 0.8
    finally:
        spinning.kill()
        spinning.wait()
