"""Work that hangs: the caller is answered in time, the place stays taken, the others go on."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from toynet.serving.refusals import Refusal
from toynet.serving.workshop import Workshop


def _refused(work: Callable[[], object], shop: Workshop, limit_s: float = 5.0) -> Refusal:
    with pytest.raises(Refusal) as caught:
        asyncio.run(shop.run(work, limit_s))
    return caught.value


def test_stuck_work_is_given_up_keeps_its_place_and_leaves_it_at_last():
    shop, go_on = Workshop("this", workers=2, places=2), threading.Event()
    late = _refused(go_on.wait, shop, 0.05)
    assert (late.status, str(late)) == (504, "this took longer than 0.05 seconds")
    assert asyncio.run(shop.run(lambda: 7, 5.0)) == 7  # by the other thread
    assert _refused(go_on.wait, shop, 0.05).status == 504
    full = _refused(lambda: 7, shop)
    assert (full.status, full.headers) == (503, {"Retry-After": "1"})
    go_on.set()
    for _ in range(200):
        try:
            assert asyncio.run(shop.run(lambda: 7, 5.0)) == 7
            return
        except Refusal:
            threading.Event().wait(0.01)
    pytest.fail("the places were never freed")


def test_work_that_was_never_begun_is_taken_back():
    shop, go_on, begun = Workshop("this", workers=1, places=3), threading.Event(), []
    assert _refused(go_on.wait, shop, 0.05).status == 504
    assert _refused(lambda: begun.append(1), shop, 0.05).status == 503
    go_on.set()
    assert asyncio.run(shop.run(lambda: 7, 5.0)) == 7
    assert begun == []


def test_what_the_work_raises_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        asyncio.run(Workshop("this", workers=1, places=1).run(lambda: 1 // 0, 5.0))
