"""A short form of benchmarks/soak_serve.py."""

import soak_serve
from served import Served


def test_hundreds_of_mixed_requests_leave_the_server_as_it_was(served: Served):
    found = soak_serve.soak(served.port, served.process.pid, run="colours", requests=400, slow=10, minutes=5)
    assert found["requests"] == 400
    assert soak_serve.faults(found) == []
